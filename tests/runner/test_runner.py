"""What a Runner promises on every engine, beside what the guide shows."""

from __future__ import annotations

import asyncio
import os
import pickle
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import flame_remote as flame
from flame_remote.runner import Runner, SessionContext


def sum_fn(a: int, b: int) -> int:
    return a + b


def where(_: object = None) -> int:
    return os.getpid()


class Counter:
    """Counts."""

    def __init__(self, count: int = 0) -> None:
        self.count = count

    def increment(self, by: int = 1) -> None:
        """Count on."""
        self.count += by

    def get_count(self) -> int:
        return self.count

    async def later(self, value: int) -> int:
        await asyncio.sleep(0)
        return value

    def fail(self) -> None:
        raise ValueError("on purpose")

    def pid(self) -> int:
        return os.getpid()


class Gate:
    """Its `wait` ends when the file is there that it was made with."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def wait(self, value: int) -> int:
        pause = threading.Event()
        while not self.path.exists():
            pause.wait(0.002)
        return value


# --- futures --------------------------------------------------------------------------------------


def test_wait_raises_what_the_call_raised_and_fetches_nothing(inline: Runner) -> None:
    counter = inline.service(Counter)
    assert counter.increment().wait() is None
    with pytest.raises(ValueError, match="on purpose"):
        counter.fail().wait()
    with pytest.raises(ValueError, match="on purpose"):
        inline.wait([counter.increment(), counter.fail()])


def test_select_yields_in_the_order_of_completion_and_each_future_once(
    embedded: None, tmp_path: Path
) -> None:
    with Runner("test") as runner:
        slow = runner.service(Gate(tmp_path / "open")).wait(1)
        quick = runner.service(sum_fn)(1, 1)
        ended = runner.select([slow, quick, slow, quick])
        assert next(ended) is quick
        (tmp_path / "open").touch()
        assert [future.get() for future in ended] == [1]


def test_select_yields_failed_futures_too(inline: Runner) -> None:
    counter = inline.service(Counter)
    failed = counter.fail()
    assert list(inline.select([failed])) == [failed]
    assert isinstance(failed.exception(), ValueError)


def test_waiting_can_be_limited_in_time(embedded: None, tmp_path: Path) -> None:
    with Runner("test") as runner:
        slow = runner.service(Gate(tmp_path / "open")).wait(1)
        for attempt in (slow.get, slow.wait, lambda timeout: runner.get([slow], timeout)):
            with pytest.raises(flame.GetTimeoutError, match=r"Gate\.wait"):
                attempt(0)
        with pytest.raises(flame.GetTimeoutError, match=r"1 of 1 results not ready.*Gate.wait"):
            list(runner.select([slow], timeout=0))
        (tmp_path / "open").touch()
        assert slow.get() == 1


@pytest.mark.parametrize("verb", ["get", "wait", "ref", "select"])
def test_something_that_is_no_future_is_refused(verb: str) -> None:
    with flame.init("inline"), Runner("test") as runner:
        future = runner.service(sum_fn)(1, 2)
        call = getattr(runner, verb)
        with pytest.raises(flame.RefMisuseError, match=rf"use runner.{verb}\(\[future\]\)"):
            call(future)
        with pytest.raises(flame.RefMisuseError, match="item 1 is int 3"):
            call([future, 3])
        with pytest.raises(flame.RefMisuseError, match="takes a list of futures, not int 3"):
            call(3)


def test_a_future_that_is_put_is_refused(inline: Runner) -> None:
    with pytest.raises(flame.RefMisuseError, match="this is an ObjectFuture already"):
        inline.put_object(inline.put_object(1))


@pytest.mark.parametrize("target", [sum_fn, Counter])
def test_resources_are_checked_when_the_service_is_made(embedded: None, target: Any) -> None:
    with Runner("test") as runner:
        runner.service(target, resreq="cpu=2,mem=1g")
        with pytest.raises(
            flame.UnschedulableError, match="needs num_cpus=3 but this engine has 2"
        ):
            runner.service(target, resreq="cpu=3")
        with pytest.raises(flame.InvalidOptionError, match="tpu"):
            runner.service(target, resreq="tpu=3")
        with pytest.raises(TypeError, match="resreq must be a ResourceRequirement, or a text such"):
            runner.service(target, resreq=2)


# --- services -------------------------------------------------------------------------------------


def test_arguments_are_checked_where_the_call_is_made(inline: Runner) -> None:
    with pytest.raises(TypeError, match=r"sum_fn\(\) missing 1 .*signature: sum_fn\(a, b\)"):
        inline.service(sum_fn)(1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"Counter.increment\(\) got an unexpected .* 'to'"):
        inline.service(Counter).increment(to=3)


def test_what_is_no_method_is_told(inline: Runner) -> None:
    counter = inline.service(Counter(3))
    with pytest.raises(AttributeError, match=r"no method 'incremnt' \(did you mean 'increment'"):
        _ = counter.incremnt
    with pytest.raises(AttributeError, match="'count' of the Counter instance is no public method"):
        _ = counter.count
    with pytest.raises(TypeError, match="is not called itself: call one of its methods"):
        counter()
    assert "increment" in dir(counter)
    assert counter.increment.__doc__ == "Count on."


def test_an_error_says_which_call_raised_it(runner: Runner) -> None:
    errors = []
    for service in (
        runner.service(Counter(), stateful=True).fail,
        runner.service(Counter, warmup=2).fail,
        runner.service(Counter().fail, autoscale=False),
        runner.service(Counter().fail),
    ):
        with pytest.raises(ValueError, match="on purpose") as caught:
            service().get()
        assert isinstance(caught.value, flame.TaskError)
        errors.append(caught.value.function_name)
    assert errors == ["Counter.fail", "Counter.fail", "fail", "fail"]


def test_what_a_failed_argument_raised_is_raised_again(runner: Runner) -> None:
    failed = runner.service(Counter).fail()
    for counter in (runner.service(Counter(), stateful=True), runner.service(Counter)):
        with pytest.raises(ValueError, match="on purpose"):
            counter.increment(failed).get()
        assert counter.get_count().get() == 0


def test_a_changed_argument_or_instance_does_not_change_what_was_sent(inline: Runner) -> None:
    local = Counter(1)
    services = [inline.service(local), inline.service(local, stateful=True)]
    local.count = 100
    assert inline.get([service.get_count() for service in services]) == [1, 1]


@pytest.mark.parametrize("stateful", [False, True])
def test_coroutines_are_awaited(runner: Runner, stateful: bool) -> None:
    assert runner.service(Counter(), stateful=stateful).later(3).get() == 3


def test_a_fixed_number_of_instances_shares_the_calls(embedded: None, tmp_path: Path) -> None:
    with Runner("test") as runner:
        services = [
            runner.service(Counter, warmup=2),
            runner.service(Counter(), warmup=2),
            runner.service(where, autoscale=False, warmup=2),
        ]
        for service in services:
            call = getattr(service, "pid", service)
            pids = runner.get([call() for _ in range(4)])
            assert len(set(pids)) == 2
            assert pids[:2] == pids[2:]
        gates = runner.service(Gate(tmp_path / "open"), warmup=2)
        held = [gates.wait(1)]
        held.append(gates.wait(2))
        (tmp_path / "open").touch()
        assert runner.get(held) == [1, 2]


def test_instances_that_scale_start_as_calls_come(embedded: None, tmp_path: Path) -> None:
    with Runner("test") as runner:
        counter = runner.service(Counter, autoscale=True)
        assert len({counter.pid().get() for _ in range(3)}) == 1  # one call at a time needs one
        gates = runner.service(Gate(tmp_path / "open"), autoscale=True)
        held = [gates.wait(n) for n in range(5)]
        (tmp_path / "open").touch()
        assert runner.get(held) == list(range(5))


def test_a_function_can_be_warmed_up(embedded: None) -> None:
    with Runner("test") as runner:
        service = runner.service(where, warmup=2)
        assert service().get() != os.getpid()


def test_an_instance_that_can_be_called_is_a_function_unless_it_is_stateful(
    inline: Runner,
) -> None:
    class Adder:
        def __init__(self) -> None:
            self.total = 0

        def __call__(self, x: int) -> int:
            self.total += x
            return self.total

        def read(self) -> int:
            return self.total

    assert inline.service(Adder())(3).get() == 3
    stateful = inline.service(Adder(), stateful=True)
    inline.wait([stateful(3), stateful(4)])
    assert stateful.read().get() == 7


def test_a_close_of_the_users_is_not_lost(inline: Runner) -> None:
    class File:
        def close(self) -> str:
            return "closed by its own close"

    with pytest.warns(UserWarning, match=r"File's own close is service\['close'\]\(\)"):
        service = inline.service(File)
    assert service["close"]().get() == "closed by its own close"
    service.close()
    with pytest.raises(flame.EngineClosedError):
        service["close"]()


def test_what_cannot_travel_is_named(inline: Runner) -> None:
    counter = Counter()
    counter.lock = threading.Lock()  # type: ignore[attr-defined]
    for stateful in (False, True):
        with pytest.raises(
            flame.SerializationError, match=r"the Counter instance contains a thread lock at \.lock"
        ):
            inline.service(counter, stateful=stateful)
    with pytest.raises(flame.SerializationError, match="given to put_object"):
        inline.put_object(threading.Lock())
    service = inline.service(sum_fn)
    with pytest.raises(TypeError, match=r"argument 1 \('a'\) of sum_fn\(\)"):
        service(service, 1)
    with pytest.raises(flame.SerializationError, match="stays in the process that made it"):
        pickle.dumps(service)
    with pytest.raises(TypeError, match="takes what is to be served"):
        inline.service(service)


# --- state ----------------------------------------------------------------------------------------


def test_state_outlives_the_worker(embedded: None) -> None:
    class Fragile(Counter):
        def crash(self) -> None:
            self.count += 1000
            os._exit(7)

    with Runner("test") as runner:
        stateful = runner.service(Fragile(10), stateful=True)
        plain = runner.service(Fragile(10))
        for service in (stateful, plain):
            service.increment()
            with pytest.raises(ValueError, match="on purpose"):
                service.fail().get()
            with pytest.raises(flame.ActorDiedError, match="exited with code 7"):
                service.crash().get()
        assert stateful.get_count().get() == 11
        assert plain.get_count().get() == 10  # a fresh copy
        stateful.increment()
        with pytest.raises(flame.ActorDiedError):
            stateful.crash().get()
        assert stateful.get_count().get() == 12


def test_a_state_may_hold_futures_and_large_values(embedded: None) -> None:
    class Store:
        def __init__(self, future: Any) -> None:
            self.kept = [future]
            self.blob = bytearray(200_000)

        def write(self, value: int) -> None:
            self.blob[-1] = value

        def read(self) -> tuple[Any, int]:
            return self.kept[0].get(), self.blob[-1]

        def crash(self) -> None:
            os._exit(1)

    with Runner("test") as runner:
        store = runner.service(Store(runner.put_object("kept")), stateful=True)
        store.write(7).wait()
        with pytest.raises(flame.ActorDiedError):
            store.crash().get()
        assert store.read().get() == ("kept", 7)


def test_a_state_that_cannot_be_saved_is_told(runner: Runner) -> None:
    class Opener:
        def __init__(self) -> None:
            self.opened = 0

        def open(self) -> str:
            self.lock = threading.Lock()
            return "opened"

    service = runner.service(Opener(), stateful=True)
    with pytest.raises(flame.SerializationError) as caught:
        service.open().get()
    text = str(caught.value)
    assert text.startswith("the state of Opener after open() contains a thread lock at .lock")
    assert "leave the part out in __getstate__, or use stateful=False" in text


def test_an_instance_that_cannot_be_made_says_why(runner: Runner) -> None:
    class Broken:
        def __init__(self) -> None:
            raise OSError("no such device")

        def method(self) -> None: ...

    service = runner.service(Broken)
    for _ in range(2):
        with pytest.raises(OSError, match="no such device"):
            service.method().get()


# --- sessions -------------------------------------------------------------------------------------


def test_a_session_that_is_open_is_used_again(inline: Runner) -> None:
    first, second = Counter(1), Counter(2)
    for counter in (first, second):
        counter._session_context = SessionContext(session_id="counting")  # type: ignore[attr-defined]
    service = inline.service(first)
    assert "counting" in repr(service)
    assert inline.service(second) is service
    with pytest.raises(flame.InvalidOptionError, match="'counting' is open already"):
        inline.service(second, stateful=True)
    service.close()
    assert inline.service(second).get_count().get() == 2


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"session_id": ""}, "session_id of SessionContext must not be empty"),
        ({"session_id": "x" * 129}, "is 129 characters long; 128 are the most"),
        ({"session_id": "a/b"}, "must not contain '/'"),
        ({"session_id": 3}, "must be a string, not int"),
        ({"application_name": 3}, "application_name of SessionContext must be a string, not int"),
    ],
)
def test_a_wrong_name_is_refused(fields: dict[str, Any], text: str) -> None:
    with pytest.raises((flame.InvalidOptionError, TypeError)) as caught:
        SessionContext(**fields)
    assert text in str(caught.value)


def test_something_else_as_a_session_context_is_refused() -> None:
    counter = Counter()
    counter._session_context = "s1"  # type: ignore[attr-defined]
    with (
        flame.init("inline"),
        Runner("test") as runner,
        pytest.raises(TypeError, match=r"_session_context must be a SessionContext, .* not str"),
    ):
        runner.service(counter)


# --- start and end --------------------------------------------------------------------------------


def test_a_closed_runner_and_its_services_take_no_more_calls(engine: str) -> None:
    runner = Runner("test")
    service = runner.service(sum_fn)
    future = runner.service(Counter(5)).get_count()
    runner.close()
    runner.close()
    with pytest.raises(flame.EngineClosedError, match="the service of the function sum_fn was clo"):
        service(1, 2)
    with pytest.raises(flame.EngineClosedError, match="the Runner 'test' was closed"):
        runner.service(sum_fn)
    assert future.get() == 5  # what was taken goes on
    assert "closed" in repr(service)
    assert "closed" in repr(runner)


def test_a_service_of_an_ended_session_says_so() -> None:
    with flame.init("inline"):
        service = Runner("test").service(sum_fn)
    with pytest.raises(flame.SessionEndedError, match="the service of the function sum_fn belongs"):
        service(1, 2)


def test_a_runner_inside_a_task_works(embedded: None) -> None:
    def outer(n: int) -> int:
        with Runner("inner") as runner:
            counter = runner.service(Counter(n))
            counter.increment(runner.service(sum_fn)(1, 2))
            assert [f.get() for f in runner.select([counter.increment()])] == [None]
            return counter.get_count().get()

    with Runner("test") as runner:
        assert runner.service(outer)(10).get(timeout=30) == 14


@pytest.mark.parametrize(("name", "text"), [("", "empty"), ("a/b", "'/'"), (3, "a string")])
def test_a_runner_needs_a_name(name: Any, text: str) -> None:
    with pytest.raises((flame.InvalidOptionError, TypeError), match=text):
        Runner(name)


def test_a_program_may_leave_its_runner_open(tmp_path: Path) -> None:
    program = """
        from flame_remote.runner import Runner

        class Counter:
            def __init__(self, count): self.count = count
            def get_count(self): return self.count

        runner = Runner("app")  # starts the default engine
        print(runner.service(Counter(10), stateful=True).get_count().get())
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "FLAME_NUM_CPUS": "2"},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "10\n", "")
    assert list(tmp_path.iterdir()) == []  # nothing is packed


def test_calls_from_many_threads_are_all_counted(runner: Runner) -> None:
    counter = runner.service(Counter(), stateful=True)

    def count() -> None:
        for _ in range(20):
            counter.increment()

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter.get_count().get() == 80


def test_what_services_hold_is_let_go_with_them(inline: Runner) -> None:
    counters: list[Any] = [inline.service(Counter(n), warmup=1) for n in range(2)]

    def all_counts() -> Iterator[int]:
        return iter(inline.get([counter.get_count() for counter in counters]))

    assert list(all_counts()) == [0, 1]
    counters[0].close()
    with pytest.raises(flame.EngineClosedError):
        counters[0].get_count()
    assert counters[1].get_count().get() == 1
