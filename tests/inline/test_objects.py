from __future__ import annotations

from flame_remote._inline.objects import ObjectTable
from flame_remote._outcome import Kind, Outcome
from flame_remote._wire.packing import Packed, pack


def packed(value: object) -> Packed:
    return pack(value, lambda: "it")


def test_an_object_says_what_it_is_and_how_far() -> None:
    table = ObjectTable()
    table.add_result(12, "square")
    table.add_actor(13, "Counter")
    table.add_value(14, packed([1]))
    texts = [stored.describe() for n in (12, 13, 14) if (stored := table.get(n))]
    assert texts == ["square() #12 (pending)", "Counter #13 (starting)", "object #14"]
    for n, kind in ((12, Kind.FAILED), (13, Kind.ATOM)):
        stored = table.get(n)
        assert stored is not None
        table.fill(stored, Outcome(kind, b""))
    texts = [stored.describe() for n in (12, 13) if (stored := table.get(n))]
    assert texts == ["square() #12 (failed)", "Counter #13 (alive)"]


def test_a_value_is_another_copy_at_each_load() -> None:
    table = ObjectTable()
    table.add_value(1, packed([[1]]))
    stored = table.get(1)
    assert stored is not None
    first, second = stored.load(), stored.load()
    first[0].append(2)
    assert second == [[1]]


def test_an_object_is_gone_with_its_last_ref() -> None:
    table = ObjectTable()
    table.add_value(1, packed([1]))
    table.hold([1])
    assert table.release([1]) == {}
    assert list(table.release([1])) == [1]
    assert table.get(1) is None
    assert table.release([1]) == {}


def test_what_an_object_holds_goes_with_it_however_long_the_chain() -> None:
    table = ObjectTable()
    table.add_value(0, packed([0]))
    for n in range(1, 50_000):
        table.add_result(n, "f")
        stored = table.get(n)
        assert stored is not None
        stored.outcome = Outcome(Kind.PICKLED, b"", (n - 1,))  # takes over the count
    assert len(table.release([49_999])) == 50_000
