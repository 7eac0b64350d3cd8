"""Cancelling what waits, what runs, and what has ended."""

from __future__ import annotations

from typing import Any

import pytest

import flame_remote as flame

from .helpers import gate

pytestmark = pytest.mark.usefixtures("engine")


@flame.remote
def identity(x: Any) -> Any:
    return x


def test_a_task_that_has_not_started_never_starts() -> None:
    @flame.remote
    class Journal:
        def __init__(self) -> None:
            self.entries: list[str] = []

        def note(self, entry: str, _: Any = None) -> None:
            self.entries.append(entry)

        def read(self) -> list[str]:
            return self.entries

    @flame.remote
    def write(journal: Any, _: Any) -> None:
        flame.get(journal.note.remote("written"))

    journal, held = Journal.remote(), gate()
    waiting = held.wait.remote()
    ref = write.remote(journal, waiting)
    assert flame.cancel(ref) is True
    held.open.remote()
    flame.get(waiting)
    with pytest.raises(flame.TaskCancelledError, match=r"write\(\) was cancelled"):
        flame.get(ref)
    assert flame.get(journal.read.remote()) == []


def test_what_depends_on_a_cancelled_task_is_cancelled_too() -> None:
    held = gate()
    first = identity.remote(held.wait.remote())
    second = identity.remote(first)
    assert first.cancel()
    with pytest.raises(flame.TaskCancelledError):
        flame.get(second)
    held.open.remote()


def test_a_finished_task_cannot_be_cancelled() -> None:
    ref = identity.remote(1)
    flame.get(ref)
    assert flame.cancel(ref) is False
    assert flame.cancel(ref, force=True) is False
    assert flame.get(ref) == 1


def test_cancelling_twice_is_no_error() -> None:
    held = gate()
    ref = identity.remote(held.wait.remote())
    assert ref.cancel()
    ref.cancel()
    with pytest.raises(flame.TaskCancelledError):
        flame.get(ref)
    held.open.remote()


def test_a_running_async_method_is_cancelled_and_its_actor_lives_on() -> None:
    held = gate()
    first, second = held.wait.remote("first"), held.wait.remote("second")
    assert flame.cancel(first)
    with pytest.raises(flame.TaskCancelledError):
        flame.get(first)
    held.open.remote()
    assert flame.get(second) == "second"


def test_a_waiting_call_of_an_actor_can_be_cancelled_and_later_ones_come_through() -> None:
    @flame.remote
    class Journal:
        def __init__(self) -> None:
            self.entries: list[str] = []

        def note(self, entry: str, _: Any = None) -> list[str]:
            self.entries.append(entry)
            return self.entries

    journal, held = Journal.remote(), gate()
    first = journal.note.remote("first", held.wait.remote())
    second = journal.note.remote("second")
    assert flame.cancel(first)
    assert flame.get(second) == ["second"]
    held.open.remote()


def test_a_done_callback_hears_of_a_cancellation() -> None:
    held = gate()
    ref = identity.remote(held.wait.remote())
    future = ref.future()
    ref.cancel()
    assert isinstance(future.exception(timeout=60), flame.TaskCancelledError)
    held.open.remote()
