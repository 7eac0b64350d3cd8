"""What there is: calls, actors, objects, workers; and where the code is that asks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import flame_remote as flame

from ..conftest import wait_until
from .helpers import gate
from .local_engines import engine, nothing_is_left_behind, only_embedded

__all__ = ["engine", "nothing_is_left_behind"]

pytestmark = pytest.mark.usefixtures("engine")

LONG = 60.0  # seconds that nobody waits for


@flame.remote
def identity(x: Any) -> Any:
    return x


@flame.remote
def hold(file: Path) -> None:
    wait_until(file.exists, LONG)


# --- calls and actors -----------------------------------------------------------------------------


def test_unfinished_calls_are_listed_with_what_they_wait_for() -> None:
    held = gate()
    first = held.wait.remote()
    second = identity.options(name="second").remote(first)
    assert wait_until(lambda: bool(flame.state.tasks(name="Gate.wait", state="running")))
    (waiting,) = flame.state.tasks(name="second")
    (running,) = flame.state.tasks(name="Gate.wait")
    assert (waiting.state, waiting.kind, waiting.pid) == ("waiting", "function", 0)
    assert waiting.waits_for == (running.id,)
    assert waiting.resources == {"CPU": 1.0}
    assert (running.kind, running.attempt) == ("method", 1)
    assert running.pid
    (actor,) = flame.state.actors()
    assert (actor.id, actor.name, actor.state) == (running.actor, "Gate", "alive")
    assert (actor.running, actor.queued) == (1, 0)
    held.open.remote()
    flame.get(second)
    assert flame.state.tasks(name="second") == []


@only_embedded
def test_calls_name_the_call_that_made_them(tmp_path: Path) -> None:
    @flame.remote
    def outer(file: Path) -> None:
        flame.get(hold.remote(file))

    ref = outer.remote(tmp_path / "open")
    assert wait_until(lambda: bool(flame.state.tasks(name="hold", state="running")))
    (inner,) = flame.state.tasks(name="hold")
    (parent,) = flame.state.tasks(name="outer")
    assert inner.parent == parent.id
    assert (parent.state, parent.waits_for) == ("blocked", (inner.id,))
    (tmp_path / "open").touch()
    flame.get(ref)


@only_embedded
def test_workers_are_listed_with_what_they_do(tmp_path: Path) -> None:
    ref = hold.remote(tmp_path / "open")
    assert wait_until(lambda: bool(flame.state.workers(task="hold")))
    (worker,) = flame.state.workers(task="hold")
    assert (worker.state, worker.calls) == ("busy", 1)
    assert worker.pid == flame.state.tasks(name="hold")[0].pid
    assert worker.memory_bytes > 1_000_000
    (tmp_path / "open").touch()
    flame.get(ref)
    assert wait_until(lambda: flame.state.workers(pid=worker.pid)[0].state == "idle")


# --- objects --------------------------------------------------------------------------------------


def object_of(ref: Any) -> flame.state.ObjectInfo:
    number = repr(ref).removesuffix(">").rpartition("#")[2]
    return flame.state.objects(id=f"#{number}")[0]


def test_objects_are_listed_with_who_holds_them() -> None:
    value = flame.put([1, 2, 3])
    outer = flame.put({"inside": value})
    info = object_of(value)
    assert (info.kind, info.name, info.values >= 1) == ("small", "", True)
    assert info.size_bytes > 0
    assert info.driver_refs == 1
    del outer
    assert wait_until(lambda: object_of(value).values == 0)


def test_an_argument_of_a_call_that_waits_is_held_by_it() -> None:
    value = flame.put("value")
    held = gate()

    @flame.remote
    def take(a: Any, b: Any) -> Any:
        return a

    ref = take.remote(value, held.wait.remote())
    assert object_of(value).tasks == 1
    held.open.remote()
    assert flame.get(ref) == "value"
    assert wait_until(lambda: object_of(value).tasks == 0)


def test_large_values_are_stored_and_show_their_size() -> None:
    value = flame.put(bytearray(1_000_000))
    info = object_of(value)
    assert info.kind in ("stored", "small")
    assert info.size_bytes >= 1_000_000


def test_a_failed_call_is_an_object_of_its_own_kind() -> None:
    @flame.remote
    def fail() -> None:
        raise ValueError

    ref = fail.remote()
    assert isinstance(ref.exception(), ValueError)
    assert [info.kind for info in flame.state.objects(name="fail")] == ["failed"]


def test_tasks_see_the_same() -> None:
    @flame.remote
    def look() -> list[str]:
        return [task.name for task in flame.state.tasks(name="look")]

    assert flame.get(look.remote()) == ["look"]


def test_a_field_that_does_not_exist_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match=r"TaskInfo has no field 'stat' \(did you mean 'state'\?\)"):
        flame.state.tasks(stat="running")


# --- context --------------------------------------------------------------------------------------


def test_the_main_program_is_in_no_call(engine: str) -> None:
    context = flame.context()
    assert (context.task_id, context.task_name, context.attempt) == ("", "", None)
    assert (context.actor_id, context.actor_name, context.deadline) == ("", "", None)
    assert context.resources["CPU"] == 2.0
    assert context.pid == os.getpid()
    assert not context.is_cancelled


def test_a_call_knows_itself() -> None:
    @flame.remote(num_cpus=0.5, resources={"license": 1})
    def about() -> dict[str, Any]:
        context = flame.context()
        return {
            "id": context.task_id,
            "name": context.task_name,
            "attempt": context.attempt,
            "resources": dict(context.resources),
            "pid": context.pid == os.getpid(),
            "actor": context.actor_id + context.actor_name,
            "cancelled": context.is_cancelled,
        }

    ref = about.remote()
    known = flame.get(ref)
    assert f"about() {known.pop('id')} " in repr(ref)
    assert known == {
        "name": "about",
        "attempt": 1,
        "resources": {"CPU": 0.5, "license": 1.0},
        "pid": True,
        "actor": "",
        "cancelled": False,
    }


def test_a_method_knows_its_actor() -> None:
    @flame.remote(resources={"license": 1})
    class Known:
        def __init__(self) -> None:
            self.at_first = flame.context().actor_id, flame.context().actor_name

        def about(self) -> tuple[Any, ...]:
            context = flame.context()
            now = context.actor_id, context.actor_name
            return now, self.at_first, context.task_name, dict(context.resources)

    known = Known.remote()
    now, at_first, name, resources = flame.get(known.about.remote())
    assert now == at_first
    assert f"{now[1]} {now[0]}" in repr(known)
    assert (name, resources) == ("Known.about", {"license": 1.0})


@only_embedded
def test_a_call_that_was_started_again_knows_which_attempt_it_is(tmp_path: Path) -> None:
    @flame.remote
    def crash_once(file: Path) -> Any:
        attempt = flame.context().attempt
        if attempt == 1:
            os._exit(1)
        return attempt

    assert flame.get(crash_once.remote(tmp_path)) == 2


@only_embedded
def test_a_call_that_nothing_can_interrupt_can_ask_whether_it_is_cancelled() -> None:
    @flame.remote(max_concurrency=2)
    class Threaded:
        def wait(self) -> None:
            self.begun = True
            wait_until(lambda: flame.context().is_cancelled, LONG)

        def has_begun(self) -> bool:
            return hasattr(self, "begun")

    actor = Threaded.remote()
    ref = actor.wait.remote()
    assert wait_until(lambda: flame.get(actor.has_begun.remote()))
    flame.cancel(ref)
    with pytest.raises(flame.TaskCancelledError):
        flame.get(ref, timeout=60)
