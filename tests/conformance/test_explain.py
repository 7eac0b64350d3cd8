"""One sentence about why a result is not there."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
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
def hold(file: Path) -> None:
    """Run until the file is there."""
    wait_until(file.exists, LONG)


def comes_to_say(ref: Any, *parts: str) -> str:
    """Ask until the sentence has all parts; return the last sentence."""
    sentence = ""

    def says() -> bool:
        nonlocal sentence
        sentence = flame.explain(ref)
        return all(part in sentence for part in parts)

    assert wait_until(says), sentence
    return sentence


def pids_that_run(name: str) -> list[int]:
    return [task.pid for task in flame.state.tasks(name=name, state="running")]


@pytest.fixture
def held(tmp_path: Path, engine: str) -> Iterator[Callable[..., Any]]:
    """Yield what starts calls that run until its `open` is called, or the test is over."""
    file = tmp_path / "open"

    def start(**options: Any) -> Any:
        return hold.options(**options).remote(file)

    start.open = file.touch  # type: ignore[attr-defined]
    yield start
    file.touch()
    assert wait_until(lambda: flame.state.tasks() == [])


# --- on both engines ------------------------------------------------------------------------------


@pytest.mark.usefixtures("engine")
def test_a_value_that_was_put_is_there() -> None:
    ref = flame.put([1, 2, 3])
    assert "was put: its value is there" in flame.explain(ref)


@pytest.mark.usefixtures("engine")
def test_a_call_that_has_succeeded_says_so() -> None:
    ref = identity.remote("four")
    flame.get(ref)
    assert flame.explain(ref).startswith("identity() #")
    assert flame.explain(ref).endswith("has succeeded: its value is there (4 bytes)")


@pytest.mark.usefixtures("engine")
def test_a_call_that_has_failed_says_with_what() -> None:
    @flame.remote
    def fail() -> None:
        raise ValueError("no such thing\nand more")

    ref = fail.remote()
    with pytest.raises(ValueError, match="no such thing"):
        flame.get(ref)
    assert flame.explain(ref).endswith("has failed: ValueError: no such thing")


@pytest.mark.usefixtures("engine")
def test_a_cancelled_call_says_so() -> None:
    held = gate()
    ref = identity.remote(held.wait.remote())
    flame.cancel(ref)
    assert flame.explain(ref).endswith("was cancelled")
    held.open.remote()


@pytest.mark.usefixtures("engine")
def test_a_call_that_waits_for_an_argument_says_what_that_waits_for() -> None:
    held = gate()
    first = identity.remote(held.wait.remote())
    second = identity.options(name="second").remote(first)
    sentence = comes_to_say(second, "Gate.wait()", "runs")
    assert sentence.startswith("second() #")
    assert "waits for its argument: identity() #" in sentence
    assert "which waits for its argument: Gate.wait() #" in sentence
    held.open.remote()
    flame.get(second)


@pytest.mark.usefixtures("engine")
def test_something_that_is_no_ref_is_refused() -> None:
    with pytest.raises(flame.RefMisuseError, match="explain"):
        flame.explain(5)  # type: ignore[arg-type]


# --- where calls run beside each other ------------------------------------------------------------


@only_embedded
@pytest.mark.usefixtures("engine")
def test_a_running_call_says_where_and_for_how_long(held: Any) -> None:
    ref = held()
    sentence = comes_to_say(ref, "runs on worker pid")
    (pid,) = pids_that_run("hold")
    assert f"runs on worker pid {pid} for about 0." in sentence
    held.open()


@only_embedded
@pytest.mark.usefixtures("engine")
def test_a_call_without_a_free_slot_says_who_has_them(held: Any) -> None:
    first, second, third = held(), held(), held()
    comes_to_say(first, "runs on worker pid")
    comes_to_say(second, "runs on worker pid")
    sentence = comes_to_say(third, "free slot")
    assert "it takes 1 CPU, and 0 of 2 are free; hold() #" in sentence
    for pid in pids_that_run("hold"):
        assert f"(pid {pid})" in sentence
    held.open()


@only_embedded
@pytest.mark.usefixtures("engine")
def test_a_call_that_waits_for_a_resource_names_it_and_its_holder(held: Any) -> None:
    first = held(resources={"license": 1})
    comes_to_say(first, "runs on worker pid")
    second = held(resources={"license": 1}, name="second")
    (holder,) = flame.state.tasks(name="hold", state="running")
    assert comes_to_say(second, "license").endswith(
        f"it takes 1 license, and 0 of 1 are free; hold() {holder.id} (pid {holder.pid}) has it"
    )
    held.open()


@only_embedded
@pytest.mark.usefixtures("engine")
def test_a_call_blocked_in_get_says_of_what(held: Any) -> None:
    @flame.remote
    def outer(refs: list[Any]) -> None:
        flame.get(refs[0])

    inner = held()
    ref = outer.remote([inner])
    sentence = comes_to_say(ref, "is blocked in get", "runs")
    assert "it waits for hold() #" in sentence
    held.open()


@only_embedded
@pytest.mark.usefixtures("engine")
def test_a_call_in_the_queue_of_an_actor_says_its_place(tmp_path: Path) -> None:
    @flame.remote
    class Slow:
        def wait(self, file: Path) -> None:
            wait_until(file.exists, LONG)

    actor = Slow.remote()
    refs = [actor.wait.remote(tmp_path / "open") for _ in range(3)]
    comes_to_say(refs[0], "runs on worker pid")
    sentence = comes_to_say(refs[2], "is call 3 in the queue of Slow #")
    assert "which runs Slow.wait() #" in sentence
    (tmp_path / "open").touch()
    flame.get(refs)
    assert "is alive on worker pid" in flame.explain(actor._flame_ref)


@only_embedded
@pytest.mark.usefixtures("engine")
def test_a_call_of_an_actor_that_cannot_start_says_what_its_constructor_waits_for(
    held: Any,
) -> None:
    @flame.remote(resources={"license": 1})
    class Licensed:
        def ping(self) -> None: ...

    first = held(resources={"license": 1})
    comes_to_say(first, "runs on worker pid")
    actor = Licensed.remote()
    ref = actor.ping.remote()
    sentence = comes_to_say(ref, "whose constructor waits for a free slot")
    assert "it takes 1 license" in sentence
    held.open()
    flame.get(ref)


@only_embedded
@pytest.mark.usefixtures("engine")
def test_a_call_whose_worker_is_being_started_says_so() -> None:
    @flame.remote
    class New:
        def ping(self) -> None: ...

    ref = New.remote().ping.remote()
    assert "whose constructor waits for its worker process, which is being started" in (
        flame.explain(ref)
    )


@only_embedded
@pytest.mark.usefixtures("engine")
def test_a_cancelled_call_that_goes_on_says_that_it_is_being_cancelled(tmp_path: Path) -> None:
    @flame.remote
    def stubborn(folder: Path) -> None:
        (folder / "begun").touch()
        while not (folder / "open").exists():
            with suppress(KeyboardInterrupt):
                wait_until((folder / "open").exists, LONG)

    ref = stubborn.remote(tmp_path)
    assert wait_until((tmp_path / "begun").exists)
    flame.cancel(ref)
    comes_to_say(ref, "is being cancelled: it has begun on worker pid")
    (tmp_path / "open").touch()
    comes_to_say(ref, "was cancelled")


@only_embedded
@pytest.mark.usefixtures("engine")
def test_a_call_that_lost_its_worker_says_which_attempt_it_is(held: Any) -> None:
    ref = held()
    comes_to_say(ref, "runs on worker pid")
    os.kill(pids_that_run("hold")[0], signal.SIGKILL)
    comes_to_say(ref, "runs", "attempt 2")
    held.open()


@only_embedded
@pytest.mark.usefixtures("engine")
def test_a_task_can_ask_too(held: Any) -> None:
    @flame.remote
    def ask(refs: list[Any]) -> str:
        return flame.explain(refs[0])

    ref = held()
    comes_to_say(ref, "runs on worker pid")
    assert "runs on worker pid" in flame.get(ask.remote([ref]))
    held.open()


@only_embedded
@pytest.mark.usefixtures("engine")
def test_a_call_that_rests_after_a_failed_attempt_says_when_it_is_tried_again() -> None:
    @flame.remote(retries=flame.Retry(2, delay=60))
    def fail() -> None:
        raise ValueError("not yet")

    ref = fail.remote()
    sentence = comes_to_say(ref, "is to be tried again in")
    assert "after a failed attempt" in sentence
    assert [task.state for task in flame.state.tasks(name="fail")] == ["resting"]
    flame.cancel(ref)
