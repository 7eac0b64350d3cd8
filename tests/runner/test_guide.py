"""The Runner guide's examples, on every engine, a cluster of this machine among them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import flame_remote as flame
from flame_remote.core import (
    FlameContext,
    ResourceRequirement,
    get_application,
    get_object,
    list_applications,
    put_object,
)
from flame_remote.core.connection import get_connection
from flame_remote.exceptions import ClusterTimeoutError
from flame_remote.runner import ObjectFuture, Runner, SessionContext

from ..clusters import Cluster, some_cluster
from ..conftest import wait_until


def sum_fn(a: int, b: int) -> int:
    return a + b


class Counter:
    def __init__(self, count: int = 0) -> None:
        self.count = count

    def increment(self, by: int = 1) -> None:
        self.count += by

    def get_count(self) -> int:
        return self.count

    def fail(self) -> None:
        raise ValueError("on purpose")

    def crash(self) -> None:
        self.count += 1000
        os._exit(7)

    def pid(self) -> int:
        return os.getpid()


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[Cluster]:
    """Before the first test looks, so that what is kept per process is there."""
    with some_cluster() as cluster:
        context = FlameContext.load(cluster.endpoint, cluster.cache_endpoint)
        connection = get_connection(context)
        get_application("flmrun", connection=connection)
        get_object(put_object("test/warm", 1, context=context), context=context)
        yield cluster
        connection.close()


@pytest.fixture(params=["inline", "embedded", "flame"])
def engine(
    request: pytest.FixtureRequest,
    cluster: Cluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[str]:
    """Run the test on an engine, in a folder with a module in it; its name."""
    (tmp_path / "module_of_the_project.py").write_text("CONSTANT = 42\n")
    monkeypatch.chdir(tmp_path)
    if request.param == "flame":
        for name, value in cluster.environment.items():
            monkeypatch.setenv(name, value)
    flame.init(engine=request.param)
    yield request.param
    flame.shutdown()
    assert [path.name for path in tmp_path.iterdir()] == ["module_of_the_project.py"]


@pytest.fixture
def runner(engine: str) -> Iterator[Runner]:
    with Runner("test") as runner:
        yield runner


# --- the guide's examples -------------------------------------------------------------------------


def test_a_function_becomes_a_service(runner: Runner) -> None:
    service = runner.service(sum_fn)
    future = service(1, 2)
    assert isinstance(future, ObjectFuture)
    assert future.get() == 3
    assert service(a=1, b=5).get(timeout=30) == 6


def test_a_stateful_instance_keeps_its_state(runner: Runner) -> None:
    counter = runner.service(Counter(10), stateful=True, warmup=1)
    counter.increment().wait()
    counter.increment(5).wait()
    assert counter.get_count().get() == 16


def test_a_class_is_made_in_the_worker(runner: Runner) -> None:
    counter = runner.service(Counter)
    runner.wait([counter.increment() for _ in range(3)])
    assert counter.get_count().get() == 3


def test_futures_go_into_other_services_without_being_fetched(runner: Runner) -> None:
    total, counter = runner.service(sum_fn), runner.service(Counter(), stateful=True)
    counter.increment(total(total(1, 2), total(3, 4)))
    counter.increment(by=total(0, 1))
    assert total(counter.get_count(), 100).get() == 111


def test_a_shared_object_is_put_once_and_taken_by_many(runner: Runner) -> None:
    data = runner.put_object(list(range(100)))

    def count(values: list[int], least: int) -> int:
        return len([value for value in get_object(values) if value >= least])

    def count_inside(box: dict[str, Any]) -> int:
        return len(get_object(box["values"]))

    service = runner.service(count)
    assert runner.get([service(data, least) for least in (0, 50, 99)]) == [100, 50, 1]
    assert runner.service(count_inside)({"values": data}).get() == 100


def test_what_an_instance_takes_can_be_said(runner: Runner) -> None:
    small = ResourceRequirement.from_string("cpu=1,mem=1g")
    assert runner.service(sum_fn, resreq=small)(1, 2).get() == 3
    services = [runner.service(Counter(i), resreq="cpu=1,mem=512m") for i in range(3)]
    assert runner.get([service.get_count() for service in services]) == [0, 1, 2]
    for target in (sum_fn, Counter):
        with pytest.raises(flame.UnschedulableError, match="needs num_cpus=1000 but "):
            runner.service(target, resreq=ResourceRequirement(cpu=1000))


def test_many_futures_are_handled_at_once(runner: Runner) -> None:
    service = runner.service(sum_fn, warmup=2)
    futures = [service(i, i) for i in range(10)]
    runner.wait(futures)
    assert runner.get(iter(futures)) == [2 * i for i in range(10)]
    assert [get_object(ref) for ref in runner.ref(futures)] == [2 * i for i in range(10)]
    assert get_object(futures[3].ref()) == 6
    assert {future.get() for future in runner.select(futures)} == {2 * i for i in range(10)}
    assert runner.get([]) == []
    assert list(runner.select([])) == []


def test_an_error_is_the_users_own(runner: Runner) -> None:
    counter = runner.service(Counter(), stateful=True)
    with pytest.raises(ValueError, match="on purpose") as caught:
        counter.fail().wait()
    assert isinstance(caught.value, flame.TaskError)
    with pytest.raises(ValueError, match="on purpose"):
        runner.service(sum_fn)(counter.fail(), 1).get()


def test_state_outlives_the_worker(engine: str) -> None:
    if engine == "inline":
        return  # the worker is this process
    with Runner("test") as runner:
        counter = runner.service(Counter(10), stateful=True)
        counter.increment()
        # A real Flame knows no more than that.
        with pytest.raises(flame.ActorDiedError, match=r"exit(ed with)? code 7|transport error"):
            counter.crash().get()
        assert counter.get_count().get() == 11


def fib(n: int) -> int:
    if n < 2:
        return n
    with Runner("test") as runner:
        service = runner.service(fib)
        return sum(runner.get([service(n - 1), service(n - 2)]))


def test_a_task_may_make_a_runner_of_the_same_application(runner: Runner) -> None:
    fib._session_context = SessionContext("fib")  # type: ignore[attr-defined]
    assert runner.service(fib)(3).get() == 2


def test_calls_that_were_taken_end_after_the_block(engine: str) -> None:
    with Runner("test") as runner:
        service, counter = runner.service(sum_fn), runner.service(Counter())
        futures = [service(i, i) for i in range(4)]
        for _ in range(4):
            counter.increment()
        count = counter.get_count()
    assert [future.get() for future in futures] == [0, 2, 4, 6]
    assert count.get() == 4


# --- on a cluster only ----------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["flame"], indirect=True)
def test_workers_have_the_folder_and_everything_is_taken_back(engine: str) -> None:
    def read_constant() -> int:
        import module_of_the_project  # type: ignore[import-not-found]

        return module_of_the_project.CONSTANT

    template = get_application("flmrun")
    assert template is not None
    with Runner("app") as runner:
        assert runner.service(read_constant, warmup=1)().get() == 42
        counters = runner.service(Counter, warmup=2)
        assert len(set(runner.get([counters.pid() for _ in range(4)]))) == 2
        registered = get_application("app")
        assert registered is not None
        assert registered.command == template.command
    assert get_application("app") is None


@pytest.mark.parametrize("engine", ["flame"], indirect=True)
def test_an_error_in_the_block_does_not_wait_for_calls(engine: str) -> None:
    def sleep() -> None:
        time.sleep(60)

    futures: list[ObjectFuture[None]] = []

    def fail_with_calls_under_way() -> None:
        with Runner("app") as runner:
            service = runner.service(sleep)
            futures.extend(service() for _ in range(20))
            raise KeyError("of the block")

    with pytest.raises(KeyError, match="of the block"):
        fail_with_calls_under_way()
    with pytest.raises((flame.TaskCancelledError, flame.EngineError)):
        futures[-1].get()
    assert get_application("app") is None


@pytest.mark.parametrize("engine", ["flame"], indirect=True)
def test_closing_a_service_on_a_cluster_that_does_not_answer_says_so(
    engine: str, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not cluster.pid:
        pytest.skip("a cluster that is not ours is not stopped")
    monkeypatch.setattr("flame_remote._flame.services._LOOK_SECONDS", 0.1)
    monkeypatch.setattr("flame_remote._flame.cluster._ANSWER_SECONDS", 0.5)
    monkeypatch.setattr("flame_remote.runner.under_way._LOOK_SECONDS", 0.1)
    flag = tmp_path / "flag"

    def hold(path: str) -> None:
        open(path, "w").close()
        while os.path.exists(path):
            time.sleep(0.01)

    with Runner("app") as runner:
        idle, busy = runner.service(sum_fn), runner.service(hold)
        assert idle(1, 2).get() == 3
        held = busy(str(flag))
        assert wait_until(flag.exists)
        os.kill(cluster.pid, signal.SIGSTOP)
        try:
            for service, name in ((idle, "sum_fn"), (busy, "hold")):
                with pytest.raises(
                    ClusterTimeoutError,
                    match=rf"the service of .*{name}.* cannot be closed: .*"
                    rf"{cluster.endpoint} did not answer within",
                ):
                    service.close()
        finally:
            os.kill(cluster.pid, signal.SIGCONT)
            flag.unlink()
        held.wait()


@pytest.mark.parametrize("engine", ["flame"], indirect=True)
def test_a_runner_may_be_closed_after_its_engine(engine: str) -> None:
    runner = Runner("app")
    assert runner.service(sum_fn)(1, 2).get() == 3
    assert runner.service(Counter(5)).get_count().get() == 5
    flame.shutdown()
    runner.close()
    assert get_application("app") is None


def test_the_exit_of_a_program_takes_everything_back(cluster: Cluster, tmp_path: Path) -> None:
    program = """
        from flame_remote.runner import Runner

        class Counter:
            def get_count(self): return 5

        runner = Runner("app")  # FLAME_ENDPOINT is set: the engine is that of the cluster
        print(runner.service(Counter(), stateful=True).get_count().get())
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=tmp_path,
        env={
            **os.environ,
            **cluster.environment,
            "PYTHONPATH": str(Path(__file__).parents[2]),
        },
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "5\n", "")
    context = FlameContext.load(cluster.endpoint, cluster.cache_endpoint)
    names = {found.name for found in list_applications(connection=get_connection(context))}
    assert names == {"flmrun", "flmexec", "flmping"}
    assert list(tmp_path.iterdir()) == []
