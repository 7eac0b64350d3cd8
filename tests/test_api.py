"""init, shutdown, get, put, wait, cancel, and the engine that starts at first use."""

from __future__ import annotations

import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import flame_remote as flame
from flame_remote import ObjectRef, _boot, _current, _session


@pytest.fixture(autouse=True)
def inline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("FLAME_ENGINE", "inline")
    yield
    flame.shutdown()


@flame.remote
def square(x: float) -> float:
    return x * x


@flame.remote
def fail(text: str) -> None:
    raise ValueError(text)


@flame.remote
class Gate:
    def value(self) -> int:
        return 3


def run_script(script: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


# --- start and end --------------------------------------------------------------------------------


def test_the_first_call_starts_the_engine() -> None:
    assert not flame.is_initialized()
    ref = square.remote(2)
    assert flame.is_initialized()
    assert flame.get(ref) == 4


@pytest.mark.parametrize(
    "use", [lambda: flame.put(1), lambda: Gate.remote(), lambda: square.options(name="a").remote(1)]
)
def test_put_and_classes_start_the_engine_too(use: Any) -> None:
    use()
    assert flame.is_initialized()


def test_getting_nothing_starts_nothing() -> None:
    assert flame.get([]) == []
    assert flame.get(()) == ()
    assert flame.get({}) == {}
    assert not flame.is_initialized()


def test_many_threads_start_one_engine() -> None:
    start = threading.Barrier(8)

    def use(n: int) -> ObjectRef[float]:
        start.wait()
        return square.remote(n)

    with ThreadPoolExecutor(8) as threads:
        refs = list(threads.map(use, range(8)))
    assert len({id(ref._engine) for ref in refs}) == 1
    assert flame.get(refs) == [n * n for n in range(8)]


def test_init_applies_settings_and_ends_with_its_block() -> None:
    with flame.init("inline", num_cpus=3, memory=1000, resources={"license": 2}) as session:
        assert session.resources == {"CPU": 3.0, "memory": 1000.0, "license": 2.0}
        assert "inline engine, running" in repr(session)
    assert not flame.is_initialized()
    assert "closed" in repr(session)
    session.close()


def test_a_second_init_is_refused_unless_it_is_asked_to_be_ignored() -> None:
    session = flame.init("inline")
    with pytest.raises(flame.EngineError, match=r"already running.*shutdown\(\) first"):
        flame.init()
    with pytest.raises(RuntimeError):
        flame.init("inline")
    assert flame.init(ignore_reinit_error=True) is session


def test_an_unknown_setting_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(flame.InvalidOptionError, match=r"no option 'num_cpu'.*'num_cpus'"):
        flame.init(num_cpu=2)
    assert not flame.is_initialized()


def test_shutdown_may_be_called_twice_and_a_new_session_starts_after_it() -> None:
    flame.shutdown()
    assert flame.get(square.remote(2)) == 4
    flame.shutdown()
    flame.shutdown()
    assert flame.get(square.remote(3)) == 9


def test_init_and_shutdown_inside_a_task_are_refused() -> None:
    @flame.remote
    def nested(verb: str) -> None:
        getattr(flame, verb)()

    with pytest.raises(flame.EngineError, match=r"shutdown\(\) was called inside a task"):
        flame.get(nested.remote("shutdown"))
    with pytest.raises(flame.EngineError):
        flame.get(nested.remote("init"))
    assert flame.is_initialized()


def test_closing_an_old_session_leaves_the_new_one_alone() -> None:
    old = flame.init("inline")
    flame.shutdown()
    flame.init("inline")
    old.close()
    assert flame.is_initialized()


def test_an_engine_that_cannot_start_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(config: Any) -> Any:
        raise flame.WorkerStartError("no processes left")

    monkeypatch.setattr(_session, "create_engine", refuse)
    with pytest.raises(flame.WorkerStartError):
        square.remote(1)
    assert not flame.is_initialized()
    monkeypatch.setattr(_session, "create_engine", _boot.create_engine)
    assert flame.get(square.remote(1)) == 1


def test_exit_without_shutdown_is_clean_and_later_handlers_may_use_the_api() -> None:
    result = run_script(
        "import atexit, os\n"
        "os.environ['FLAME_ENGINE'] = 'inline'\n"
        "import flame_remote as flame\n"
        "@flame.remote\n"
        "def f(x): return x + 1\n"
        "atexit.register(lambda: print('later', flame.get(f.remote(1))))\n"
        "print(flame.get(f.remote(0)))\n"
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "1\nlater 2\n", "")


def test_no_engine_starts_while_the_interpreter_exits() -> None:
    result = run_script(
        "import atexit, os\n"
        "os.environ['FLAME_ENGINE'] = 'inline'\n"
        "def too_late():\n"
        "    try: flame.put(1)\n"
        "    except flame.EngineClosedError as error: print(error)\n"
        "atexit.register(too_late)\n"
        "import flame_remote as flame\n"
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "the interpreter is exiting: flame cannot start\n"


# --- get ------------------------------------------------------------------------------------------


def test_get_gives_back_the_shape_that_came() -> None:
    a, b = square.remote(2), square.remote(3)
    assert flame.get(a) == 4
    assert flame.get([a, b, a]) == [4, 9, 4]
    assert flame.get((a, b)) == (4, 9)
    assert flame.get({"a": a, "b": b}) == {"a": 4, "b": 9}
    assert flame.get({a: 1}.keys()) == [4]
    assert sorted(flame.get({a, b})) == [4, 9]
    assert flame.get(square.remote(n) for n in range(3)) == [0, 1, 4]


def test_get_raises_the_users_own_exception() -> None:
    with pytest.raises(ValueError, match="sour") as caught:
        flame.get([square.remote(1), fail.remote("sour"), fail.remote("sweet")])
    assert isinstance(caught.value, flame.TaskError)


@pytest.mark.parametrize(
    ("refs", "text"),
    [
        (9, "get() takes ObjectRefs, not int 9; did you call square(3) instead of square.rem"),
        ([3], "get() takes ObjectRefs, not int 3; did you"),
        ("abc", "get() takes ObjectRefs, not str 'abc'; did you"),
        (None, "get() takes ObjectRefs, not NoneType None"),
        (square, "not the remote function square: get what square.remote(...) returns"),
        (Gate, "not the remote class Gate: get what a method of a handle returns"),
    ],
)
def test_get_of_something_else_says_what_came_and_the_likely_cause(refs: Any, text: str) -> None:
    with pytest.raises(flame.RefMisuseError) as caught:
        flame.get(refs)
    assert text in str(caught.value)


def test_get_names_the_item_that_is_no_ref() -> None:
    with pytest.raises(flame.RefMisuseError, match="but item 1 is list"):
        flame.get([square.remote(1), [square.remote(2)]])
    gate = Gate.remote()
    with pytest.raises(flame.RefMisuseError, match="not the handle of an actor"):
        flame.get(gate)
    with pytest.raises(flame.RefMisuseError, match="the method value of an actor"):
        flame.get([square.remote(1), gate.value])


def test_timeouts_are_checked() -> None:
    ref = square.remote(1)
    assert flame.get(ref, timeout=0) == 1
    with pytest.raises(ValueError, match="timeout"):
        flame.get([ref], timeout=-1)
    with pytest.raises(TypeError, match="timeout"):
        flame.get(ref, timeout="1")
    with pytest.raises(TypeError):
        flame.get(ref, 1.0)


def test_refs_of_an_ended_session_are_refused() -> None:
    old = square.remote(1)
    flame.shutdown()
    for refs in (old, [old], {"a": old}):
        with pytest.raises(flame.SessionEndedError):
            flame.get(refs)
    new = square.remote(2)
    with pytest.raises(flame.SessionEndedError):
        flame.get([new, old])
    with pytest.raises(flame.SessionEndedError):
        flame.wait([old, new], num_returns=2)
    with pytest.raises(flame.SessionEndedError):
        flame.cancel(old)
    assert flame.get(new) == 4


# --- put ------------------------------------------------------------------------------------------


def test_put_stores_a_copy() -> None:
    words = ["a"]
    ref = flame.put(words)
    words.append("b")
    assert flame.get(ref) == ["a"]


def test_put_of_a_ref_is_refused() -> None:
    with pytest.raises(flame.RefMisuseError, match="an ObjectRef already"):
        flame.put(square.remote(1))


def test_put_of_what_cannot_travel_says_so() -> None:
    with pytest.raises(flame.SerializationError, match=r"given to put\(\)"):
        flame.put(threading.Lock())


# --- wait -----------------------------------------------------------------------------------------


class Manual:
    """Refs whose tasks end when the test says so, on an engine that never waits."""

    def __init__(self, count: int, done: set[int]) -> None:
        flame.init("inline")
        engine: Any = _current.engine
        self.refs = [flame.put(n) for n in range(count)]
        ids = {self.refs[n]._id for n in done}
        self.asked: list[int] = []

        def is_done(ref: ObjectRef[Any]) -> bool:
            self.asked.append(self.refs.index(ref))
            return ref._id in ids

        engine.is_done = is_done
        engine.wait = lambda refs, num_returns, deadline: {r._id for r in refs} & ids

    def places(self, refs: list[ObjectRef[int]]) -> list[int]:
        return [self.refs.index(ref) for ref in refs]


@pytest.mark.parametrize(
    ("done", "num_returns", "ready"),
    [
        ({0, 1, 2, 3}, 1, [0]),
        ({3}, 1, [3]),
        ({1, 3}, 1, [1]),
        ({3, 1}, 2, [1, 3]),
        ({0, 1, 2, 3}, 4, [0, 1, 2, 3]),
        ({2}, 3, [2]),  # the time is over
        (set(), 1, []),
    ],
)
def test_wait_keeps_the_order_and_returns_at_most_what_was_asked_for(
    done: set[int], num_returns: int, ready: list[int]
) -> None:
    manual = Manual(4, done)
    before = list(manual.refs)
    found, rest = flame.wait(manual.refs, num_returns=num_returns, timeout=0)
    assert manual.places(found) == ready
    assert manual.places(rest) == [n for n in range(4) if n not in ready]
    assert manual.refs == before


def test_wait_stops_looking_at_the_first_that_is_done() -> None:
    manual = Manual(100, set(range(100)))
    flame.wait(manual.refs, num_returns=2)
    assert manual.asked == [0, 1]


def test_wait_takes_any_iterable() -> None:
    refs = (square.remote(n) for n in range(3))
    ready, rest = flame.wait(refs, num_returns=3)
    assert flame.get(ready) == [0, 1, 4]
    assert rest == []


def test_wait_counts_failed_tasks_as_ready() -> None:
    ref = fail.remote("x")
    assert flame.wait([ref]) == ([ref], [])


def test_wait_refuses_the_same_ref_twice() -> None:
    ref = square.remote(1)
    with pytest.raises(ValueError, match=r"square\(\).* is there more than once"):
        flame.wait([ref, square.remote(2), ref])


@pytest.mark.parametrize("num_returns", [0, -1, 3])
def test_wait_refuses_a_number_out_of_range(num_returns: int) -> None:
    with pytest.raises(ValueError, match="num_returns must be 1 to 2"):
        flame.wait([square.remote(1), square.remote(2)], num_returns=num_returns)


def test_wait_refuses_what_is_no_list_of_refs() -> None:
    ref = square.remote(1)
    with pytest.raises(flame.RefMisuseError, match=r"use wait\(\[ref\]\)"):
        flame.wait(ref)
    with pytest.raises(flame.RefMisuseError, match="item 1 is int 3"):
        flame.wait([ref, 3])
    with pytest.raises(TypeError, match="num_returns must be a whole number"):
        flame.wait([ref], num_returns=True)
    with pytest.raises(ValueError, match="num_returns"):
        flame.wait([])
    with pytest.raises(ValueError, match="timeout"):
        flame.wait([ref], timeout=-1)


def test_a_loop_over_wait_sees_every_ref_once() -> None:
    rest = [square.remote(n) for n in range(50)]
    seen = []
    while rest:
        ready, rest = flame.wait(rest, num_returns=min(3, len(rest)))
        seen += flame.get(ready)
    assert seen == [n * n for n in range(50)]


# --- cancel and refs ------------------------------------------------------------------------------


def test_cancel_of_what_has_ended_says_so() -> None:
    assert flame.cancel(square.remote(1)) is False
    assert square.remote(1).cancel() is False
    with pytest.raises(flame.RefMisuseError, match=r"cancel\(\) takes ObjectRefs, not int 3"):
        flame.cancel(3)


def test_a_ref_used_as_its_value_says_what_to_do() -> None:
    ref = square.remote(3)
    for use in (lambda: ref + 1, lambda: ref[0], lambda: list(ref), lambda: ref < 3):
        with pytest.raises(flame.RefMisuseError, match=r"square\(\).*use flame.get\(ref\)"):
            use()
    with pytest.raises(AttributeError, match=r"'upper'.*use flame.get\(ref\)"):
        ref.upper()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert bool(ref)
    assert "always true" in str(caught[0].message)
