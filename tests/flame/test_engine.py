"""The engine on a cluster, beyond what all engines have in common."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flame_remote as flame
from flame_remote._config import load_config
from flame_remote._flame.engine import FlameEngine
from flame_remote.core.object_ref import ObjectRef as Address
from flame_remote.core.objects import get_object

from ..clusters import Cluster

pytestmark = pytest.mark.usefixtures("session")


@flame.remote
def identity(x: Any) -> Any:
    return x


@flame.remote
def where() -> tuple[int, str]:
    import flame_remote

    return os.getpid(), flame_remote.__file__


def helper(x: int) -> int:
    return x * 10


class Point:
    def __init__(self, x: int) -> None:
        self.x = x


def test_calls_run_in_other_processes_that_have_nothing_of_ours_installed(
    cluster: Cluster, request: pytest.FixtureRequest
) -> None:
    pid, file = flame.get(where.remote())
    assert pid != os.getpid()
    if "stock workers" in request.node.name:
        assert Path(file).parent.parent.name == "package"


def test_what_modules_of_the_user_define_is_sent_as_code() -> None:
    @flame.remote
    def use(point: Point) -> Point:
        return Point(helper(point.x))

    got = flame.get(use.remote(Point(2)))
    assert type(got) is Point
    assert got.x == 20


def test_a_thousand_calls_are_under_way_at_a_time(engine: FlameEngine) -> None:
    @flame.remote
    class Gate:
        def __init__(self) -> None:
            import asyncio

            self.opened = asyncio.Event()

        async def wait(self, n: int) -> int:
            await self.opened.wait()
            return n

        async def open(self) -> None:
            self.opened.set()

    held = Gate.options(max_concurrency=2000).remote()
    refs = [held.wait.remote(n) for n in range(1000)]
    assert not any(ref.done() for ref in refs)
    held.open.remote()
    assert flame.get(refs, timeout=50) == list(range(1000))


def test_arguments_and_results_may_be_larger_than_a_message_of_the_cluster() -> None:
    array = np.arange(1_000_000)
    assert np.array_equal(flame.get(identity.remote(array)), array)
    parts = [identity.remote("x" * 90_000) for _ in range(60)]
    joined = flame.remote(lambda *parts: len("".join(parts))).remote(*parts)
    assert flame.get(joined) == 60 * 90_000


def test_a_function_may_be_larger_than_a_message_of_the_cluster() -> None:
    table = np.arange(700_000)
    assert flame.get(flame.remote(lambda: int(table[-1])).remote()) == 699_999


def test_tasks_that_wait_for_tasks_need_no_more_instances_than_there_are() -> None:
    @flame.remote
    def leaf(barrier: str, n: int) -> int:
        import time

        time.sleep(0.03)  # longer than calls are kept for who waits for them
        return n

    @flame.remote
    def spread(n: int) -> int:
        return sum(flame.get([leaf.remote("", n) for _ in range(4)]))

    assert flame.get([spread.remote(n) for n in range(8)], timeout=50) == [4 * n for n in range(8)]


def test_a_result_has_an_address_that_stock_programs_understand() -> None:
    ref = identity.remote({"a": [1, 2]})
    address = ref.ref()
    assert isinstance(address, Address)
    assert get_object(address) == {"a": [1, 2]}
    assert ref.ref() == address


def test_resources_are_those_of_the_cluster(session: flame.Session) -> None:
    cpus = session.resources["CPU"]
    assert cpus >= 1
    with pytest.raises(flame.UnschedulableError, match="num_cpus"):
        identity.options(num_cpus=cpus + 1).remote(1)
    with pytest.raises(flame.UnschedulableError, match="license"):
        identity.options(resources={"license": 1}).remote(1)


def test_a_call_can_ask_for_memory_and_several_cpus(session: flame.Session) -> None:
    cpus = session.resources["CPU"]
    assert flame.get(identity.options(num_cpus=cpus).remote(1)) == 1
    assert flame.get(identity.options(resources={"memory": 1 << 20}).remote(2)) == 2


def test_calls_of_eight_threads_get_each_their_own_results() -> None:
    results: dict[int, list[int]] = {}

    def work(number: int) -> None:
        results[number] = flame.get([identity.remote(number * 100 + n) for n in range(50)])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(results[n] == [n * 100 + k for k in range(50)] for n in range(8))


def test_an_actor_gives_its_place_up_while_one_of_its_calls_waits_for_another_actor() -> None:
    @flame.remote
    class Bell:
        def __init__(self) -> None:
            import asyncio

            self.rung = asyncio.Event()

        async def wait(self) -> str:
            await self.rung.wait()
            return "rung"

        async def ring(self) -> None:
            self.rung.set()

    @flame.remote
    class Waiter:
        def wait_for(self, bell: Any) -> str:
            return str(flame.get(bell.wait.remote()))

        def count(self) -> int:
            return 1

    bell, waiter = Bell.remote(), Waiter.remote()
    waiting = waiter.wait_for.remote(bell)
    behind = waiter.count.remote()
    flame.get(bell.ring.remote())
    assert flame.get([waiting, behind], timeout=50) == ["rung", 1]


def test_a_repr_and_a_late_get_say_what_is_missing() -> None:
    @flame.remote
    def slow() -> None:
        import time

        time.sleep(0.5)

    ref = slow.remote()
    assert "slow()" in repr(ref)
    with pytest.raises(flame.GetTimeoutError, match=r"slow\(\).*pending"):
        flame.get(ref, timeout=0.01)


def test_an_environment_is_refused_as_it_belongs_to_the_application() -> None:
    with pytest.raises(flame.InvalidOptionError, match=r"identity: runtime_env needs an engine on"):
        identity.options(runtime_env={"env_vars": {"A": "1"}}).remote(1)
    with pytest.raises(
        flame.InvalidOptionError, match="on a Flame cluster the environment belongs"
    ):
        load_config("flame", runtime_env={"env_vars": {"A": "1"}})


def test_memory_is_counted_by_the_cluster() -> None:
    assert flame.get(identity.options(memory="256m").remote(1)) == 1
