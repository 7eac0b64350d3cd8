"""Calls that raise and are tried again."""

from __future__ import annotations

from typing import Any

import pytest

import flame_remote as flame

pytestmark = pytest.mark.usefixtures("engine_of_file")


def tally() -> Any:
    """Return the handle of an actor that counts."""

    @flame.remote
    class Tally:
        def __init__(self) -> None:
            self.number = 0

        def next(self) -> int:
            self.number += 1
            return self.number

        def total(self) -> int:
            return self.number

    return Tally.remote()


def failing(times: int, error: Any = ValueError, **options: Any) -> Any:
    """Return a remote function of a tally that raises in its first calls."""

    @flame.remote(**options)
    def sometimes(tally: Any) -> int:
        number: int = flame.get(tally.next.remote())
        if number <= times:
            raise error(f"number {number}")
        return number

    return sometimes


def test_a_call_that_raises_is_not_tried_again_unless_asked() -> None:
    counter = tally()
    with pytest.raises(ValueError, match="number 1"):
        flame.get(failing(1).remote(counter))
    assert flame.get(counter.total.remote()) == 1


@pytest.mark.parametrize("which", [True, [KeyError, ValueError], ValueError])
def test_retry_exceptions_tries_again_as_often_as_max_retries_says(which: Any) -> None:
    counter = tally()
    assert flame.get(failing(2, retry_exceptions=which, max_retries=2).remote(counter)) == 3
    with pytest.raises(ValueError, match="number 6"):
        flame.get(failing(9, retry_exceptions=which, max_retries=2).remote(counter))
    assert flame.get(counter.total.remote()) == 6


def test_other_exceptions_are_raised_at_once() -> None:
    counter = tally()
    with pytest.raises(ValueError, match="number 1"):
        flame.get(failing(1, retry_exceptions=[OSError]).remote(counter))
    with pytest.raises(ValueError, match="number 2"):
        flame.get(failing(9, retries=flame.Retry(5, on=OSError)).remote(counter))
    assert flame.get(counter.total.remote()) == 2


def test_retry_says_how_often_after_what_and_after_which_pauses() -> None:
    counter = tally()
    retry = flame.Retry(4, on=(ValueError, OSError), delay=0.01, factor=2, max_delay=0.02, jitter=1)
    assert flame.get(failing(3, OSError, retries=retry).remote(counter)) == 4


def test_a_predicate_sees_the_exception() -> None:
    counter = tally()
    retry = flame.Retry(9, when=lambda error: "number 1" in str(error))
    with pytest.raises(ValueError, match="number 2"):
        flame.get(failing(9, retries=retry).remote(counter))


def test_an_error_of_the_predicate_is_the_errors_of_the_call() -> None:
    def broken(error: Exception) -> bool:
        raise LookupError("no such predicate")

    with pytest.raises(LookupError, match="no such predicate") as caught:
        flame.get(failing(9, retries=flame.Retry(9, when=broken)).remote(tally()))
    assert "number 1" in str(caught.value.__context__)


def test_the_last_error_lists_all_attempts() -> None:
    with pytest.raises(ValueError, match="number 3") as caught:
        flame.get(failing(9, retries=flame.Retry(3)).remote(tally()))
    notes = caught.value.__notes__
    assert [note for note in notes if note.startswith("attempt")] == [
        "attempt 1: ValueError: number 1",
        "attempt 2: ValueError: number 2",
        "attempt 3: ValueError: number 3",
    ]
    assert "attempt 2: ValueError: number 2" in caught.value.remote_traceback  # type: ignore[attr-defined]


def test_each_attempt_knows_its_number() -> None:
    @flame.remote(retries=flame.Retry(3))
    def number() -> int:
        attempt = flame.context().attempt
        assert attempt is not None
        if attempt < 3:
            raise ValueError(attempt)
        return attempt

    @flame.remote(retries=flame.Retry(3))
    async def later() -> int:
        attempt = flame.context().attempt
        assert attempt is not None
        if attempt < 2:
            raise ValueError(attempt)
        return attempt

    assert flame.get([number.remote(), later.remote()]) == [3, 2]


def test_arguments_and_parts_are_there_in_every_attempt() -> None:
    @flame.remote(retries=flame.Retry(3), num_returns=2)
    def pair(counter: Any, values: list[int]) -> Any:
        if flame.get(counter.next.remote()) < 3:
            raise ValueError("again")
        return values, sum(values)

    values = flame.put(list(range(20_000)))
    first, second = pair.remote(tally(), values)
    assert flame.get(second) == sum(range(20_000))
    assert len(flame.get(first)) == 20_000


def test_what_waits_for_the_call_waits_for_its_last_attempt() -> None:
    @flame.remote
    def double(value: int) -> int:
        return 2 * value

    retry = flame.Retry(3, delay=0.01)
    assert flame.get(double.remote(failing(2, retries=retry).remote(tally()))) == 6
