"""Concurrency groups: calls of one actor that do not wait for those of another group."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

import flame_remote as flame

from .local_engines import engine, nothing_is_left_behind, only_embedded

__all__ = ["engine", "nothing_is_left_behind"]
pytestmark = pytest.mark.usefixtures("engine")

SENT_AHEAD = 600  # more than are sent to an actor ahead


@flame.remote(concurrency_groups={"io": 2, "compute": 1})
class Threaded:
    """Blocks for real."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.lock = threading.Lock()
        self.inside = 0
        self.most = 0
        self.order: list[int] = []

    @flame.method(concurrency_group="io")
    def block(self) -> int:
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        self.opened.wait()
        with self.lock:
            self.inside -= 1
        return self.most

    @flame.method(concurrency_group="compute")
    def note(self, n: int) -> list[int]:
        self.order.append(n)
        return self.order

    def open(self) -> None:
        self.opened.set()

    @staticmethod
    @flame.method(concurrency_group="compute")
    def thread() -> str:
        return threading.current_thread().name

    def peek(self) -> str:
        return threading.current_thread().name


@flame.remote(concurrency_groups={"io": 2})
class Interleaved:
    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.inside = 0
        self.most = 0

    @flame.method(concurrency_group="io")
    async def block(self) -> int:
        self.inside += 1
        self.most = max(self.most, self.inside)
        await self.opened.wait()
        self.inside -= 1
        return self.most

    async def open(self) -> None:
        self.opened.set()


@only_embedded
def test_a_blocked_group_blocks_no_other_and_keeps_its_limit() -> None:
    actor = Threaded.remote()
    blocked = [actor.block.remote() for _ in range(5)]
    assert flame.get(actor.note.remote(1)) == [1]
    flame.get(actor.open.remote())
    assert max(flame.get(blocked)) == 2


@only_embedded
def test_a_group_with_a_long_queue_leaves_room_for_the_others() -> None:
    actor = Threaded.remote()
    blocked = [actor.block.remote() for _ in range(SENT_AHEAD)]
    assert flame.get(actor.note.remote(1)) == [1]
    flame.get(actor.open.remote())
    assert len(flame.get(blocked)) == SENT_AHEAD


def test_groups_of_async_methods_have_limits_of_their_own() -> None:
    actor = Interleaved.remote()
    blocked = [actor.block.remote() for _ in range(4)]
    flame.get(actor.open.remote())
    assert max(flame.get(blocked)) == 2


def test_calls_of_one_group_begin_in_order() -> None:
    actor = Threaded.remote()
    refs = [actor.note.remote(n) for n in range(100)]
    assert flame.get(refs[-1]) == list(range(100))


def test_a_call_that_waits_for_an_argument_holds_up_its_own_group_only() -> None:
    from .helpers import gate

    held, actor = gate(), Threaded.remote()
    late = actor.note.remote(held.wait.remote(1))
    behind = actor.note.remote(2)
    assert flame.get(actor.note.options(concurrency_group="io").remote(3)) == [3]
    assert not behind.done()
    held.open.remote()
    assert flame.get([late, behind])[-1] == [3, 1, 2]


@only_embedded
def test_each_group_has_threads_of_its_own() -> None:
    actor = Threaded.remote()
    assert flame.get(actor.thread.remote()).startswith("flame-call-compute")
    assert not flame.get(actor.peek.remote()).startswith("flame-call-")
    name = flame.get(actor.peek.options(concurrency_group="io").remote())
    assert name.startswith("flame-call-io")


@only_embedded
def test_groups_work_for_actors_and_handles_that_tasks_make_and_get() -> None:
    @flame.remote
    def use(given: Any) -> list[Any]:
        made = Threaded.remote()
        stuck = [actor.block.remote() for actor in (given, made) for _ in range(3)]
        notes = flame.get([given.note.remote(1), made.note.remote(2)])
        flame.get([given.open.remote(), made.open.remote()])
        flame.get(stuck)
        return [*notes, flame.get(made.peek.options(concurrency_group="io").remote())[:13]]

    assert flame.get(use.remote(Threaded.remote())) == [[1], [2], "flame-call-io"]


def test_an_unknown_group_is_refused_where_the_class_is_decorated() -> None:
    class Wrong:
        @flame.method(concurrency_group="ioo")
        def call(self) -> None: ...

    with pytest.raises(flame.InvalidOptionError) as caught:
        flame.remote(concurrency_groups={"io": 1, "compute": 2})(Wrong)
    assert str(caught.value) == (
        "the method Wrong.call: its class has no concurrency group 'ioo' (did you mean 'io'?); "
        "groups: compute, io"
    )
    with pytest.raises(flame.InvalidOptionError, match=r"it has none: give the class concurrency_"):
        flame.remote(Wrong)


def test_an_unknown_group_is_refused_at_the_call() -> None:
    actor = Threaded.remote()
    with pytest.raises(flame.InvalidOptionError, match="no concurrency group 'disk'; groups: comp"):
        actor.note.options(concurrency_group="disk")
    again = flame.get(flame.put([actor]))[0]
    with pytest.raises(flame.InvalidOptionError, match="no concurrency group 'disk'"):
        again.note.options(concurrency_group="disk")


@pytest.mark.parametrize(
    ("groups", "error"),
    [({"io": 0}, ValueError), ({"io": "2"}, TypeError), ({1: 2}, TypeError), (["io"], TypeError)],
)
def test_groups_that_are_none_are_refused(groups: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="concurrency_groups"):
        flame.remote(concurrency_groups=groups)(Threaded.__wrapped__)


def test_options_of_a_method_hold_unless_the_call_says_otherwise() -> None:
    @flame.remote
    class Pair:
        @flame.method(num_returns=2)
        def both(self) -> tuple[int, int]:
            return 1, 2

    pair: Any = Pair.remote()
    assert flame.get(pair.both.remote()) == [1, 2]
    assert flame.get(pair.both.options(num_returns=1).remote()) == (1, 2)
    with pytest.raises(flame.InvalidOptionError, match="has no option 'num_return'"):
        flame.method(num_return=2)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="options by name"):
        flame.method()


@only_embedded
def test_state_and_explain_know_which_calls_of_a_group_have_begun() -> None:
    actor = Threaded.remote()
    blocked = [actor.block.remote() for _ in range(3)]
    flame.get(actor.note.remote(1))
    assert "runs" in flame.explain(blocked[0])
    assert "queue" in flame.explain(blocked[2])
    flame.get(actor.open.remote())
    flame.get(blocked)
