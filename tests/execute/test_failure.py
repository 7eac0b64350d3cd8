from __future__ import annotations

import pickle
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from flame_remote._execute.call import execute
from flame_remote._execute.failure import (
    Failure,
    add_needed_by,
    encode_error,
    encode_failure,
    rebuild_error,
)
from flame_remote.exceptions import TaskCancelledError, TaskError, WorkerCrashedError


def failed(function: Callable[[], Any], name: str = "square") -> bytes:
    """Return the error that a call raises, ready to travel."""
    succeeded, error = execute(function, (), {})
    assert not succeeded
    return encode_failure(error, name, 12, 123)


def raise_(error: BaseException) -> None:
    raise error


def printed(error: BaseException) -> str:
    return "".join(traceback.format_exception(type(error), error, error.__traceback__))


def test_an_error_says_in_which_task_of_which_process_it_was() -> None:
    error: Any = rebuild_error(failed(lambda: raise_(ValueError("bad"))))
    assert isinstance(error, ValueError)
    assert isinstance(error, TaskError)
    assert (error.function_name, error.task_id, error.pid) == ("square", 12, 123)
    assert "in square(), task #12, worker pid 123" in printed(error)


def test_attributes_of_the_user_win_over_those_that_say_where_it_was() -> None:
    mine: Any = ValueError("bad")
    mine.pid = "mine"
    error: Any = rebuild_error(failed(lambda: raise_(mine)))
    assert error.pid == "mine"
    assert error.function_name == "square"


def test_every_rebuilt_error_is_another_one() -> None:
    data = failed(lambda: raise_(ValueError("bad")))
    assert rebuild_error(data) is not rebuild_error(data)


def test_an_error_of_the_engine_stays_what_it_is() -> None:
    error = rebuild_error(encode_error(WorkerCrashedError("f", 1, 2, "was killed", 3, "out")))
    assert type(error) is WorkerCrashedError
    assert "was killed" in str(error)
    assert error.output == "out"


def test_an_error_that_goes_through_another_task_is_not_wrapped_again() -> None:
    inner = rebuild_error(failed(lambda: 1 / 0, "inner"))
    outer: Any = rebuild_error(failed(lambda: raise_(inner), "outer"))
    assert type(outer) is type(inner)
    assert outer.function_name == "inner"
    assert "called by outer()" in printed(outer)
    assert printed(outer).count("worker pid") == 1


def test_an_error_that_another_task_handles_is_the_cause_of_its_own() -> None:
    def outer() -> None:
        try:
            raise rebuild_error(failed(lambda: 1 / 0, "inner"))
        except ZeroDivisionError as error:
            raise ValueError("wrapped") from error

    error = rebuild_error(failed(outer, "outer"))
    assert isinstance(error, ValueError)
    assert isinstance(error.__cause__, ZeroDivisionError)


def test_wrapping_the_error_of_the_task_below_again_and_again_stays_small() -> None:
    data = failed(lambda: 1 / 0)
    for _ in range(40):
        inner = rebuild_error(data)

        def outer(inner: BaseException = inner) -> None:
            raise RuntimeError("again") from inner

        data = failed(outer)
    assert len(data) < 200_000


def test_a_long_way_through_tasks_is_told_by_its_ends() -> None:
    data = failed(lambda: 1 / 0, "inner")
    for n in range(100):
        error = rebuild_error(data)
        data = failed(lambda error=error: raise_(error), f"f{n}")  # type: ignore[misc]
    failure = Failure.load(data)
    assert failure.callers[0] == "f0()"
    assert failure.callers[-2:] == ("...", "f99()")
    assert len(failure.callers) == 8
    assert len(data) < 200_000


def test_those_that_needed_the_result_are_named_nearest_first() -> None:
    data = failed(lambda: 1 / 0, "bad")
    data = add_needed_by(add_needed_by(data, "f"), "outer")
    assert "needed by: f <- outer" in printed(rebuild_error(data))
    cancelled = add_needed_by(encode_error(TaskCancelledError("f")), "g")
    assert type(rebuild_error(cancelled)) is TaskCancelledError


def test_an_error_without_a_class_here_shows_name_text_and_chain() -> None:
    def outer() -> None:
        class Inner(Exception):
            def __reduce__(self) -> Any:
                return _vanish, ()

        try:
            raise Inner("first")
        except Inner:
            raise Inner("second") from None

    data = failed(outer)
    _vanish.allowed = False  # type: ignore[attr-defined]
    try:
        error = rebuild_error(data)
    finally:
        _vanish.allowed = True  # type: ignore[attr-defined]
    assert isinstance(error, TaskError)
    assert "second" in printed(error)
    assert "Inner" in printed(error)


def _vanish() -> BaseException:
    if not _vanish.allowed:  # type: ignore[attr-defined]
        raise RuntimeError("gone")
    return ValueError("here")


_vanish.allowed = True  # type: ignore[attr-defined]


def test_an_error_that_could_not_be_rebuilt_goes_through_other_tasks_unchanged() -> None:
    link = failed(lambda: raise_(SystemExit("leaving")), "inner")
    outer = rebuild_error(failed(lambda: raise_(rebuild_error(link)), "outer"))
    assert type(outer).__name__ == "TaskError"
    assert str(outer).startswith("SystemExit: leaving")
    assert isinstance(outer.__cause__, SystemExit)
    assert "called by outer()" in printed(outer)


def test_a_rebuilt_error_pickles() -> None:
    for data in (failed(lambda: 1 / 0), failed(lambda: raise_(SystemExit(1)))):
        error = rebuild_error(data)
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error)
        assert printed(again) == printed(error)


@pytest.mark.parametrize("size", [10_000, 10_000_000])
def test_texts_are_bounded(size: int) -> None:
    data = failed(lambda: raise_(ValueError("x" * size)))
    failure = Failure.load(data)
    assert len(failure.text) <= 70_000
    assert len(data) <= 400_000


def test_a_chain_of_a_hundred_thousand_causes_is_no_trouble() -> None:
    error = ValueError(0)
    for n in range(100_000):
        later = ValueError(n)
        later.__cause__ = error
        error = later
    data = failed(lambda: raise_(error))
    assert len(data) < 100_000
    assert "earlier causes left out" in Failure.load(data).text
    while error.__cause__ is not None:  # one by one: all at once would overflow the C stack
        cause = error.__cause__
        error.__cause__ = None
        error = cause  # type: ignore[assignment]


class Hostile(Exception):
    """Resists everything that one may do with an exception."""

    def _refuse(self, *_: object) -> Any:
        raise RuntimeError("refused")

    __str__ = __repr__ = __reduce__ = __reduce_ex__ = __eq__ = __hash__ = _refuse  # type: ignore[assignment]
    __getattr__ = __setattr__ = __len__ = __bool__ = __iter__ = _refuse  # type: ignore[assignment]


def test_a_hostile_exception_is_an_error_that_names_its_class() -> None:
    error = rebuild_error(failed(lambda: raise_(Hostile("x"))))
    assert isinstance(error, TaskError)
    assert "Hostile" in Failure.load(failed(lambda: raise_(Hostile("x")))).text
    assert error.function_name == "square"


def test_notes_that_are_no_texts_are_no_trouble() -> None:
    error = ValueError("x")
    error.__dict__["__notes__"] = [1, threading.Lock()]
    assert isinstance(rebuild_error(failed(lambda: raise_(error))), ValueError)


def test_an_error_with_no_traceback_can_be_encoded() -> None:
    error = rebuild_error(encode_failure(ValueError("x"), "f", 1, 2))
    assert isinstance(error, ValueError)
    assert error.__traceback__ is None


def test_an_error_of_deep_recursion_is_small() -> None:
    def deeper(n: int) -> int:
        return deeper(n + 1)

    data = failed(lambda: deeper(0))
    assert isinstance(rebuild_error(data), RecursionError)
    assert len(data) < 100_000


if sys.version_info >= (3, 11):

    def test_the_errors_of_a_group_keep_their_types_and_frames() -> None:
        def gather() -> None:
            errors: list[Exception] = []
            for number in ("x", "y"):
                try:
                    int(number)
                except ValueError as error:
                    errors.append(error)
            raise ExceptionGroup("many", [*errors, *[KeyError(n) for n in range(10)]])  # noqa: F821

        data = failed(gather)
        error: Any = rebuild_error(data)
        assert isinstance(error, ExceptionGroup)  # noqa: F821
        assert [type(inner) for inner in error.exceptions[:3]] == [ValueError, ValueError, KeyError]
        assert "int(number)" in printed(error.exceptions[0])
        text = Failure.load(data).text
        assert "invalid literal for int() with base 10: 'y'" in text
        assert "and 7 more exceptions" in text
