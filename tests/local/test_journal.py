"""The journal: finished results in memory that outlives their worker."""

from __future__ import annotations

from flame_remote._local.journal import JOURNAL_BYTES, Journal, read_journal
from flame_remote._outcome import Kind

ATOM, PICKLED, STORED = int(Kind.ATOM), int(Kind.PICKLED), int(Kind.STORED)


def test_what_was_added_can_be_read_until_it_is_cleared() -> None:
    memory = memoryview(bytearray(JOURNAL_BYTES))
    journal = Journal(memory)
    assert read_journal(memory) == []
    assert journal.add((1, ATOM, 5, ()))
    assert journal.add((2, PICKLED, b"data", ()))
    assert read_journal(memory) == [(1, ATOM, 5, ()), (2, PICKLED, b"data", ())]
    journal.clear()
    assert read_journal(memory) == []
    assert journal.add((3, ATOM, None, ()))
    assert read_journal(memory) == [(3, ATOM, None, ())]


def test_what_does_not_fit_is_refused_and_leaves_the_rest_as_it_was() -> None:
    memory = memoryview(bytearray(JOURNAL_BYTES))
    journal = Journal(memory)
    number = 0
    while journal.add((number, ATOM, number, ())):
        number += 1
    assert number > 20
    assert len(read_journal(memory)) == number


def test_large_values_and_values_with_refs_are_refused() -> None:
    memory = memoryview(bytearray(JOURNAL_BYTES))
    journal = Journal(memory)
    assert not journal.add((1, PICKLED, bytes(1000), ()))
    assert not journal.add((1, PICKLED, b"", (7,)))
    assert not journal.add((1, STORED, (1, 2, 3, ()), ()))
    assert read_journal(memory) == []
