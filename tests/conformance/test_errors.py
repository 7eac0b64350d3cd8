"""Errors: they keep their type and their frames, say where they are from, and harm nobody else."""

from __future__ import annotations

import asyncio
import dataclasses
import pickle
import sys
import threading
import traceback
from typing import Any

import pytest

import flame_remote as flame

from .helpers import gate

pytestmark = pytest.mark.usefixtures("engine_of_file")


@flame.remote
def divide(x: float, y: float) -> float:
    return x / y


@flame.remote
def identity(x: Any) -> Any:
    return x


def raising(make: Any) -> flame.ObjectRef[Any]:
    """Return the ref of a task that raises what `make` returns there."""

    @flame.remote
    def fail() -> None:
        raise make()

    return fail.remote()


def text_of(error: BaseException) -> str:
    return "".join(traceback.format_exception(type(error), error, error.__traceback__))


def test_an_error_is_of_its_own_type_and_a_task_error() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        flame.get(divide.remote(1, 0))
    error = caught.value
    assert isinstance(error, flame.TaskError)
    assert type(error).__name__ == "TaskError(ZeroDivisionError)"
    assert error.args == ("float division by zero",) or error.args == ("division by zero",)
    assert error.function_name == "divide"
    assert error.task_id > 0
    assert error.pid > 0
    assert "return x / y" in error.remote_traceback


def test_each_get_raises_an_error_of_its_own() -> None:
    ref = divide.remote(1, 0)
    first, second = ref.exception(), ref.exception()
    assert first is not second
    assert type(first) is type(second)


def test_the_frames_of_the_task_are_in_the_traceback() -> None:
    def helper(y: float) -> float:
        return 1 / y

    @flame.remote
    def outer(y: float) -> float:
        return helper(y) + 1

    error = outer.remote(0).exception()
    assert error is not None
    frames = traceback.extract_tb(error.__traceback__)
    assert [frame.name for frame in frames][-2:] == ["outer", "helper"]
    assert frames[-1].line == "return 1 / y"
    assert frames[-1].filename == __file__


def test_source_lines_and_carets_are_those_of_the_same_error_here() -> None:
    def outer(x: float, y: float) -> float:
        return 1.0 + (x / y) + 2.0

    error = flame.remote(outer).remote(1, 0).exception()
    assert error is not None
    with pytest.raises(ZeroDivisionError) as here:
        outer(1, 0)
    lines = text_of(here.value).splitlines()
    start = next(n for n, line in enumerate(lines) if line.endswith("in outer"))
    assert "\n".join(lines[start:-1]) in text_of(error)


def test_no_frame_of_the_library_is_left_in_the_part_that_ran_in_the_task() -> None:
    error = divide.remote(1, 0).exception()
    assert isinstance(error, flame.TaskError)
    assert "flame_remote/" not in error.remote_traceback
    names = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    assert names[-1] == __file__


def test_an_error_says_which_task_in_which_process_it_was() -> None:
    error = divide.remote(1, 0).exception()
    assert isinstance(error, flame.TaskError)
    assert f"in divide(), task #{error.task_id}, worker pid {error.pid}" in text_of(error)


class TwoArguments(Exception):
    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{reason} ({code})")
        self.code = code
        self.reason = reason


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    code: int


class Slotted(Exception):
    __slots__ = ("code",)

    def __init__(self, *, code: int) -> None:
        self.code = code


class Noted(OSError):
    code = 5


@pytest.mark.parametrize(
    "make",
    [
        lambda: TwoArguments(5, "bad"),
        lambda: Frozen(5),
        lambda: Slotted(code=5),
        lambda: Noted(2, "missing", "file.txt"),
    ],
    ids=["two arguments", "frozen", "slots", "os error"],
)
def test_an_error_keeps_its_attributes_whatever_its_constructor_takes(make: Any) -> None:
    error: Any = raising(make).exception()
    original = make()
    assert isinstance(error, (type(original), flame.TaskError))
    assert isinstance(error, type(original))
    assert error.code == 5
    assert error.args == original.args
    assert str(error).startswith(str(original))


def test_an_os_error_keeps_number_and_file() -> None:
    error: Any = flame.remote(open).remote("/no/such/file").exception()
    assert isinstance(error, FileNotFoundError)
    assert (error.errno, error.filename) == (2, "/no/such/file")


def test_an_error_of_a_local_class_is_caught_by_that_class() -> None:
    class Local(Exception):
        pass

    with pytest.raises(Local, match="mine"):
        flame.get(raising(lambda: Local("mine")))


def test_an_error_can_be_handled_pickled_and_raised_again() -> None:
    error = divide.remote(1, 0).exception()
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, ZeroDivisionError)
    assert isinstance(again, flame.TaskError)
    assert again.function_name == "divide"
    assert isinstance(flame.get(identity.remote([error]))[0], ZeroDivisionError)


def test_the_cause_comes_along() -> None:
    @flame.remote
    def outer() -> None:
        try:
            int("x")
        except ValueError as error:
            raise RuntimeError("wrapped") from error

    error = outer.remote().exception()
    assert isinstance(error, RuntimeError)
    assert isinstance(error.__cause__, ValueError)
    assert 'int("x")' in text_of(error)


def test_what_was_being_handled_comes_along() -> None:
    @flame.remote
    def outer() -> None:
        try:
            int("x")
        except ValueError:
            {}["y"]

    error = outer.remote().exception()
    assert isinstance(error, KeyError)
    assert isinstance(error.__context__, ValueError)


if sys.version_info >= (3, 11):

    def test_notes_come_along() -> None:
        @flame.remote
        def outer() -> None:
            error = ValueError("x")
            error.add_note("look here")
            raise error

        error = outer.remote().exception()
        assert error is not None
        assert error.__notes__[0] == "look here"

    def test_a_group_of_errors_can_be_split() -> None:
        @flame.remote
        def outer() -> None:
            raise ExceptionGroup("many", [ValueError("a"), TwoArguments(5, "b")])  # noqa: F821

        error = outer.remote().exception()
        assert isinstance(error, ExceptionGroup)  # noqa: F821
        values, others = error.split(ValueError)
        assert values is not None
        assert values.exceptions[0].args == ("a",)
        assert isinstance(others, ExceptionGroup)  # noqa: F821
        assert others.exceptions[0].code == 5


def test_the_error_of_an_inner_task_keeps_its_type_through_the_outer() -> None:
    @flame.remote
    def outer() -> Any:
        return flame.get(divide.remote(1, 0))

    error = outer.remote().exception()
    assert isinstance(error, ZeroDivisionError)
    assert type(error).__name__ == "TaskError(ZeroDivisionError)"
    assert isinstance(error, flame.TaskError)
    names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    assert names[-1] == "divide"
    assert "outer" in names
    text = text_of(error)
    assert "in divide()" in text
    assert "called by outer()" in text


def test_an_error_through_fifty_nested_tasks_stays_short() -> None:
    @flame.remote
    def nested(depth: int) -> Any:
        return flame.get(divide.remote(1, 0) if depth == 0 else nested.remote(depth - 1))

    error = nested.remote(30).exception()
    assert isinstance(error, ZeroDivisionError)
    assert len(text_of(error)) < 20_000


def test_a_task_whose_argument_failed_fails_with_that_error() -> None:
    error = identity.remote(identity.remote(divide.remote(1, 0))).exception()
    assert isinstance(error, ZeroDivisionError)
    text = text_of(error)
    assert "in divide()" in text
    assert "needed by: identity <- identity" in text


def test_one_failure_touches_no_other_task() -> None:
    refs = [divide.remote(1, n % 3) for n in range(30)]
    errors = [ref.exception() for ref in refs]
    assert [error is None for error in errors] == [n % 3 != 0 for n in range(30)]


def test_get_of_many_raises_the_failure_although_others_are_not_ready() -> None:
    held = gate()
    waiting = held.wait.remote()
    with pytest.raises(ZeroDivisionError):
        flame.get([divide.remote(1, 0), waiting])
    held.open.remote()
    assert flame.get(waiting) == "through"


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_what_would_end_the_program_is_an_ordinary_task_error(
    kind: type[BaseException],
) -> None:
    error = raising(lambda: kind("stop")).exception()
    assert isinstance(error, flame.TaskError)
    assert not isinstance(error, kind)
    assert kind.__name__ in str(error)
    assert "stop" in str(error)


def test_a_cancelled_error_of_a_task_does_not_cancel_who_awaits_it() -> None:
    async def main() -> str:
        try:
            await raising(lambda: asyncio.CancelledError("inner"))
        except flame.TaskError as error:
            return str(error)
        return "not raised"

    assert "CancelledError" in asyncio.run(main())


def test_stop_iteration_arrives_as_an_error() -> None:
    error = raising(lambda: StopIteration(3)).exception()
    assert isinstance(error, StopIteration)
    assert error.value == 3


def test_an_error_that_cannot_be_pickled_still_says_what_it_is() -> None:
    def make() -> Exception:
        class Holder(Exception):
            def __reduce__(self) -> Any:
                raise RuntimeError("never")

        error = Holder("kept", threading.Lock())
        error.lock = threading.Lock()  # type: ignore[attr-defined]
        error.fine = 5  # type: ignore[attr-defined]
        return error

    error: Any = raising(make).exception()
    assert isinstance(error, flame.TaskError)
    assert "Holder" in text_of(error)
    assert "kept" in str(error)
    assert error.fine == 5


def test_an_error_that_cannot_be_shown_is_an_error_all_the_same() -> None:
    def make() -> Exception:
        class Mute(Exception):
            def __str__(self) -> str:
                raise RuntimeError("no text")

            __repr__ = __str__

        return Mute("x")

    error = raising(make).exception()
    assert isinstance(error, flame.TaskError)
    assert "Mute" in type(error).__name__ or "Mute" in str(error)


def test_an_error_whose_class_cannot_be_rebuilt_here_is_told_by_name_and_text() -> None:
    def make() -> Exception:
        class Guarded(Exception):
            def __reduce__(self) -> Any:
                return _refuse, ()

            def __new__(cls, *args: Any) -> Any:
                return super().__new__(cls, *args)

        return Guarded("kept text")

    error = raising(make).exception()
    assert isinstance(error, flame.TaskError)
    assert "Guarded" in text_of(error)
    assert "kept text" in text_of(error)


def _refuse() -> None:
    raise RuntimeError("not here")


def test_an_error_of_a_final_class_is_the_cause_of_a_task_error() -> None:
    def make() -> Exception:
        class Final(Exception):
            def __init_subclass__(cls) -> None:
                raise TypeError("final")

        return Final("x")

    error = raising(make).exception()
    assert isinstance(error, flame.TaskError)
    assert "Final" in text_of(error)


def test_an_enormous_message_is_cut() -> None:
    error = raising(lambda: ValueError("x" * 10_000_000)).exception()
    assert isinstance(error, ValueError)
    assert len(str(error)) < 100_000
    assert "left out" in str(error)
    assert isinstance(error, flame.TaskError)
    assert len(error.remote_traceback) < 100_000


def test_an_endless_chain_of_causes_is_cut() -> None:
    def make() -> Exception:
        error = ValueError(0)
        for n in range(1, 10_000):
            later = ValueError(n)
            later.__cause__ = error
            error = later
        return error

    error: Any = raising(make).exception()
    assert error.args == (9999,)
    assert error.__cause__.args == (9998,)
    length = 0
    while error is not None:
        error, length = error.__cause__, length + 1
    assert length < 100


def test_a_chain_of_causes_that_is_a_circle_is_no_trouble() -> None:
    def make() -> Exception:
        first, second = ValueError("first"), ValueError("second")
        first.__cause__, second.__cause__ = second, first
        return first

    assert isinstance(raising(make).exception(), ValueError)


def test_endless_recursion_is_an_error_of_that_task() -> None:
    @flame.remote
    def forever(n: int) -> int:
        def deeper(n: int) -> int:
            return deeper(n + 1)

        return deeper(n)

    error = forever.remote(0).exception()
    assert isinstance(error, RecursionError)
    assert isinstance(error, flame.TaskError)
    assert len(error.remote_traceback) < 100_000
    assert flame.get(identity.remote(1)) == 1


def test_a_result_that_cannot_be_sent_is_an_error_that_names_the_function() -> None:
    @flame.remote
    def h() -> Any:
        return {"cfg": [threading.Lock()]}

    with pytest.raises(flame.SerializationError) as caught:
        flame.get(h.remote())
    assert "the value returned by h() (" in str(caught.value)
    assert "contains a thread lock at ['cfg'][0]" in str(caught.value)
    assert __file__ in str(caught.value)


def test_an_argument_that_cannot_be_sent_is_refused_at_the_call() -> None:
    with pytest.raises(flame.SerializationError, match=r"argument 1.*of identity.*a thread lock"):
        identity.remote(threading.Lock())
    with pytest.raises(flame.SerializationError, match="argument 'x' of identity"):
        identity.remote(x=[threading.Lock()])
    assert flame.get(identity.remote(1)) == 1


def test_a_function_that_uses_what_cannot_be_sent_is_refused_at_the_first_call() -> None:
    lock = threading.Lock()

    @flame.remote
    def guarded() -> None:
        with lock:
            pass

    with pytest.raises(flame.SerializationError, match="guarded closes over 'lock'"):
        guarded.remote()
