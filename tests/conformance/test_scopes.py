"""Blocks that leave no call behind, and the cancelling of what a call has started."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import flame_remote as flame

from ..conftest import wait_until
from .helpers import gate
from .local_engines import engine, nothing_is_left_behind, only_embedded

__all__ = ["engine", "nothing_is_left_behind"]

LONG = 60.0  # seconds that nobody waits for


@flame.remote
def identity(x: Any) -> Any:
    return x


@flame.remote
def write(file: Path, after: Any = None) -> None:
    file.write_text("written")


@flame.remote
def fail(after: Any = None) -> None:
    raise ValueError("it failed")


def open_later(held: Any, seconds: float = 0.05) -> threading.Thread:
    thread = threading.Timer(seconds, held.open.remote)
    thread.start()
    return thread


# --- the end of a block ---------------------------------------------------------------------------


@pytest.mark.usefixtures("engine")
def test_what_was_started_inside_has_ended_when_the_block_has() -> None:
    held = gate()
    flame.get(identity.remote(0))
    opener = open_later(held)
    with flame.scope():
        refs = [identity.remote(held.wait.remote(n)) for n in range(5)]
    assert all(ref.done() for ref in refs)
    assert flame.get(refs) == [0, 1, 2, 3, 4]
    opener.join()


@pytest.mark.usefixtures("engine")
def test_what_was_started_outside_is_not_waited_for() -> None:
    held = gate()
    outside = identity.remote(held.wait.remote())
    with flame.scope():
        flame.get(identity.remote(1))
    assert not outside.done()
    held.open.remote()
    flame.get(outside)


@only_embedded
@pytest.mark.usefixtures("engine")
def test_what_calls_in_a_scope_have_started_has_ended_too(tmp_path: Path) -> None:
    @flame.remote
    def begin(file: Path) -> None:
        later.remote(file)  # and forgets it

    @flame.remote
    def later(file: Path) -> None:
        write.remote(file)

    with flame.scope():
        begin.remote(tmp_path / "file")
    assert (tmp_path / "file").exists()


@pytest.mark.usefixtures("engine")
def test_an_error_in_the_block_cancels_everything_and_is_raised(tmp_path: Path) -> None:
    held = gate()
    refs: list[Any] = []

    def block() -> None:
        with flame.scope():
            waits = held.wait.remote()
            refs.extend(write.remote(tmp_path / f"{n}", waits) for n in range(1000))
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        block()
    assert all(ref.done() for ref in refs)
    held.open.remote()
    with pytest.raises(flame.TaskCancelledError):
        flame.get(refs[500])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("engine")
def test_the_first_failure_of_a_call_cancels_the_others_and_is_raised(tmp_path: Path) -> None:
    held = gate()
    rest: list[Any] = []

    def block() -> None:
        with flame.scope():
            rest.append(write.remote(tmp_path / "file", held.wait.remote()))
            fail.remote()

    with pytest.raises(ValueError, match="it failed"):
        block()
    with pytest.raises(flame.TaskCancelledError):
        flame.get(rest[0])
    held.open.remote()
    assert not (tmp_path / "file").exists()


@pytest.mark.usefixtures("engine")
def test_a_scope_that_waits_leaves_errors_to_the_refs(tmp_path: Path) -> None:
    refs: list[Any] = []

    def block() -> None:
        with flame.scope(on_error="wait"):
            refs.extend([fail.remote(), write.remote(tmp_path / "file")])
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        block()
    assert refs[1].done()
    assert (tmp_path / "file").exists()
    with pytest.raises(ValueError, match="it failed"):
        flame.get(refs[0])


@pytest.mark.usefixtures("engine")
def test_a_call_that_the_user_cancels_is_no_failure() -> None:
    held = gate()
    with flame.scope():
        cancelled = identity.remote(held.wait.remote())
        flame.cancel(cancelled)
        kept = identity.remote(5)
        held.open.remote()
    assert flame.get(kept) == 5


@pytest.mark.usefixtures("engine")
def test_a_scope_can_be_cancelled_by_hand() -> None:
    held = gate()
    with flame.scope() as scope:
        waits = held.wait.remote()
        refs = [identity.remote(waits) for _ in range(3)]
        assert scope.cancel() == 4
        late = identity.remote(1)
    for ref in (*refs, late):
        with pytest.raises(flame.TaskCancelledError):
            flame.get(ref)


@pytest.mark.usefixtures("engine")
def test_scopes_nest() -> None:
    held = gate()
    with flame.scope():
        outer = identity.remote(held.wait.remote("outer"))
        with flame.scope():
            inner = identity.remote("inner")
        assert inner.done()
        assert not outer.done()
        held.open.remote()
    assert flame.get([outer, inner]) == ["outer", "inner"]


@pytest.mark.usefixtures("engine")
def test_a_block_of_its_own_for_each_coroutine() -> None:
    held = gate()

    async def alone(x: Any) -> Any:
        with flame.scope():
            return await identity.remote(x)

    async def both() -> list[Any]:
        return list(await asyncio.gather(alone(1), alone(2)))

    assert asyncio.run(both()) == [1, 2]
    held.open.remote()


# --- deadlines ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("engine")
def test_a_deadline_cancels_what_has_not_ended() -> None:
    held = gate()
    late = pytest.raises(flame.DeadlineExceededError, match="1 call was cancelled")
    with late, flame.scope(deadline=0.05):
        flame.get(held.wait.remote())
    held.open.remote()


@pytest.mark.usefixtures("engine")
def test_a_deadline_that_nothing_missed_is_no_error() -> None:
    with flame.scope(deadline=60):
        ref = identity.remote(1)
    assert flame.get(ref) == 1


@only_embedded
@pytest.mark.usefixtures("engine")
def test_a_deadline_ends_the_grandchildren_too(tmp_path: Path) -> None:
    @flame.remote
    def child(folder: Path) -> Any:
        return flame.get(grandchild.remote(folder))

    @flame.remote
    def grandchild(folder: Path) -> None:
        (folder / "begun").touch()
        time.sleep(LONG)

    refs: list[Any] = []

    def block() -> None:
        with flame.scope(deadline=1.0):
            refs.append(child.remote(tmp_path))
            assert wait_until((tmp_path / "begun").exists)

    with pytest.raises(flame.DeadlineExceededError, match="2 calls were cancelled"):
        block()
    assert refs[0].done()
    assert flame.state.tasks() == []


@pytest.mark.usefixtures("engine")
def test_calls_know_the_deadline_around_them() -> None:
    @flame.remote
    def nested() -> Any:
        return flame.get(deadline.remote())

    @flame.remote
    def deadline() -> Any:
        return flame.context().deadline

    assert flame.get(nested.remote()) is None
    before = time.monotonic()
    with flame.scope(deadline=100):
        moment = flame.context().deadline
        assert moment is not None
        assert before + 100 <= moment <= time.monotonic() + 100
        with flame.scope(deadline=1000):
            assert flame.get(nested.remote()) == moment


# --- scopes in tasks ------------------------------------------------------------------------------


@pytest.mark.usefixtures("engine")
def test_a_task_has_scopes_of_its_own(tmp_path: Path) -> None:
    @flame.remote
    def work(folder: Path) -> list[bool]:
        with flame.scope():
            refs = [write.remote(folder / f"{n}") for n in range(3)]
            name = flame.context().task_name
        return [*(ref.done() for ref in refs), name == "work", flame.get(identity.remote(True))]

    assert flame.get(work.remote(tmp_path)) == [True] * 5
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.usefixtures("engine")
def test_a_failure_in_the_scope_of_a_task_is_that_of_the_task() -> None:
    @flame.remote
    def work() -> None:
        with flame.scope():
            fail.remote()

    with pytest.raises(ValueError, match="it failed"):
        flame.get(work.remote())


@only_embedded
@pytest.mark.usefixtures("engine")
def test_recursion_through_scopes_ends() -> None:
    @flame.remote
    def tree(depth: int) -> int:
        if not depth:
            return 1
        with flame.scope():
            refs = [tree.remote(depth - 1) for _ in range(2)]
        return sum(flame.get(refs))

    assert flame.get(tree.remote(5), timeout=60) == 32


@only_embedded
@pytest.mark.usefixtures("engine")
def test_a_task_that_is_killed_in_its_scope_takes_what_is_in_it_along(tmp_path: Path) -> None:
    @flame.remote(max_retries=0)
    def work(folder: Path) -> None:
        import os

        with flame.scope():
            spin.remote(folder)
            wait_until((folder / "begun").exists, LONG)
            os._exit(3)

    @flame.remote
    def spin(folder: Path) -> None:
        (folder / "begun").touch()
        time.sleep(LONG)

    with pytest.raises(flame.WorkerCrashedError):
        flame.get(work.remote(tmp_path))
    assert wait_until(lambda: flame.state.tasks() == [])


# --- recursive cancelling -------------------------------------------------------------------------


@flame.remote
def start_and_wait(folder: Path) -> None:
    ref = wait_in.remote(folder)
    flame.get(ref)


@flame.remote
def wait_in(folder: Path) -> None:
    (folder / "begun").touch()
    wait_until((folder / "open").exists, LONG)
    (folder / "ended").touch()


@only_embedded
@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("force", [False, True])
def test_cancelling_a_call_cancels_what_it_has_started(tmp_path: Path, force: bool) -> None:
    ref = start_and_wait.remote(tmp_path)
    assert wait_until((tmp_path / "begun").exists)
    assert flame.cancel(ref, force=force)
    with pytest.raises(flame.TaskCancelledError):
        flame.get(ref)
    assert wait_until(lambda: flame.state.tasks() == [])
    assert not (tmp_path / "ended").exists()


@only_embedded
@pytest.mark.usefixtures("engine")
def test_what_a_call_has_started_goes_on_if_asked_for(tmp_path: Path) -> None:
    @flame.remote
    def start(folder: Path) -> None:
        wait_in.remote(folder)
        time.sleep(LONG)

    ref = start.remote(tmp_path)
    assert wait_until((tmp_path / "begun").exists)
    flame.cancel(ref, recursive=False)
    with pytest.raises(flame.TaskCancelledError):
        flame.get(ref)
    (tmp_path / "open").touch()
    assert wait_until((tmp_path / "ended").exists)


@only_embedded
@pytest.mark.usefixtures("engine")
def test_a_method_and_what_it_has_started_are_cancelled_and_the_actor_lives_on(
    tmp_path: Path,
) -> None:
    @flame.remote
    class Worker:
        def work(self, folder: Path) -> None:
            flame.get(wait_in.remote(folder))

        def ping(self) -> str:
            return "here"

    actor = Worker.remote()
    ref = actor.work.remote(tmp_path)
    assert wait_until((tmp_path / "begun").exists)
    flame.cancel(ref)
    with pytest.raises(flame.TaskCancelledError):
        flame.get(ref)
    assert flame.get(actor.ping.remote()) == "here"
    assert wait_until(lambda: flame.state.tasks() == [])
    assert not (tmp_path / "ended").exists()


# --- wrong use ------------------------------------------------------------------------------------


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="'cancel' or 'wait', not 'ignore'"):
        flame.scope(on_error="ignore")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="number of seconds"):
        flame.scope(deadline="soon")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="0 or more"):
        flame.scope(deadline=-1)


@pytest.mark.usefixtures("engine")
def test_a_scope_is_entered_once() -> None:
    scope = flame.scope()
    with scope:
        pass
    with pytest.raises(RuntimeError, match="entered once"), scope:
        pass
