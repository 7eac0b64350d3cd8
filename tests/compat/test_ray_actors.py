"""Ray's names for actors that are named, leave, come again or have limits; and what calls have."""

from __future__ import annotations

import os
from typing import Any

import pytest

import flame_remote as flame
import flame_remote.compat.ray as ray


class Store:
    def __init__(self) -> None:
        self.values: list[Any] = []

    def add(self, value: Any) -> int:
        self.values.append(value)
        return len(self.values)

    @ray.method(num_returns=2)
    def ends(self) -> Any:
        return self.values[0], self.values[-1]

    def items(self) -> Any:
        yield from self.values

    def leave(self) -> None:
        ray.actor.exit_actor()

    def die(self) -> None:
        os._exit(1)

    def pid(self) -> int:
        return os.getpid()


Remote = ray.remote(Store)


def test_a_named_actor_is_found_by_its_name(engine: str) -> None:
    made = Remote.options(name="store", get_if_exists=True).remote()
    again = Remote.options(name="store", get_if_exists=True).remote()
    assert made == again == ray.get_actor("store")
    assert ray.get(ray.get_actor("store").add.remote("one")) == 1
    with pytest.raises(ray.exceptions.ActorAlreadyExistsError):
        ray.get(Remote.options(name="store").remote().add.remote(1))
    with pytest.raises(ValueError, match="nobody"):
        ray.get_actor("nobody")


def test_a_handle_that_was_found_knows_the_options_of_methods(engine: str) -> None:
    made = Remote.options(name="store").remote()
    ray.get(made.add.remote("one"))
    first, last = ray.get_actor("store").ends.remote()
    assert ray.get([first, last]) == ["one", "one"]
    assert [ray.get(ref) for ref in ray.get_actor("store").items.remote()] == ["one"]


def test_the_namespace_of_init_is_that_of_names(monkeypatch: pytest.MonkeyPatch) -> None:
    with ray.init(local_mode=True, namespace="mine"):
        keep = Remote.options(name="store", lifetime="detached").remote()
        assert ray.get_actor("store", namespace="mine") == keep == ray.get_actor("store")
        assert ray.get_runtime_context().namespace == "mine"
        other = Remote.options(name="other", namespace="elsewhere").remote()
        assert ray.util.list_named_actors() == ["store"]
        assert sorted(pair["namespace"] for pair in ray.util.list_named_actors(True)) == [
            "elsewhere",
            "mine",
        ]
        del other
        with pytest.raises(ValueError, match="store"):
            ray.get_actor("store", namespace="other")


def test_an_actor_that_leaves_is_dead(engine: str) -> None:
    store = Remote.remote()
    ray.get(store.leave.remote())
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(store.add.remote(1))
    with pytest.raises(TypeError, match="for the methods of an actor"):
        ray.actor.exit_actor()


def test_an_actor_is_restarted_and_its_calls_are_tried_again(engine: str) -> None:
    if engine == "inline":
        return  # there is no process that can die
    store = Remote.options(max_restarts=1, max_task_retries=0).remote()
    before = ray.get(store.pid.remote())
    with pytest.raises(ray.exceptions.RayError):
        ray.get(store.die.remote())
    assert ray.get(store.pid.remote()) != before


def test_calls_in_groups_have_limits_of_their_own(engine: str) -> None:
    @ray.remote(concurrency_groups=[{"name": "io", "max_concurrency": 2}])
    class Grouped:
        @ray.method(concurrency_group="io")
        def read(self) -> str:
            return "read"

        def compute(self) -> str:
            return "computed"

    grouped = Grouped.remote()
    calls = [grouped.read.remote(), grouped.compute.remote()]
    calls.append(grouped.compute.options(concurrency_group="io").remote())
    assert ray.get(calls) == ["read", "computed", "computed"]


def test_a_call_too_many_is_refused() -> None:
    import threading

    with ray.init(num_cpus=2):

        @ray.remote(max_pending_calls=1)
        class Busy:
            def wait(self) -> None:
                threading.Event().wait(30)

        busy = Busy.remote()
        waiting = [busy.wait.remote()]
        with pytest.raises(ray.exceptions.PendingCallsLimitExceeded):
            waiting += [busy.wait.remote() for _ in range(9)]
        ray.kill(busy)


def test_calls_have_the_environment_that_they_ask_for(engine: str) -> None:
    @ray.remote
    def colour() -> str | None:
        return os.environ.get("RAY_NEWER_COLOUR")

    coloured = colour.options(runtime_env={"env_vars": {"RAY_NEWER_COLOUR": "red"}})
    assert ray.get([coloured.remote(), colour.remote()]) == ["red", None]


def test_memory_is_passed_on() -> None:
    with ray.init(num_cpus=2):
        assert ray.get(ray.remote(memory=64 << 20)(lambda: "enough").remote()) == "enough"
        assert issubclass(ray.exceptions.OutOfMemoryError, flame.FlameError)


def test_each_call_sees_its_own_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with ray.init(num_cpus=2, num_gpus=2):
        see = ray.remote(num_gpus=1)(lambda: ray.get_gpu_ids())
        assert len(ray.get(see.remote())) == 1
