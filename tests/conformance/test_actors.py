"""Actors: one instance, called in order, alive as long as a handle is."""

from __future__ import annotations

import asyncio
import copy
import os
from typing import Any

import pytest

import flame_remote as flame

from .helpers import gate

pytestmark = pytest.mark.usefixtures("engine_of_file")


@flame.remote
class Counter:
    """Counts."""

    def __init__(self, start: int = 0, *, step: int = 1) -> None:
        self.value = start
        self.step = step
        self.history: list[Any] = []

    def add(self, n: int = 1) -> int:
        self.value += n * self.step
        return self.value

    def note(self, entry: Any) -> None:
        self.history.append(entry)

    def read(self) -> list[Any]:
        return self.history

    def fail(self) -> None:
        raise ValueError("on purpose")

    def me(self) -> int:
        return id(self)

    @staticmethod
    def twice(x: int) -> int:
        return 2 * x

    @classmethod
    def name(cls) -> str:
        return cls.__name__


def test_an_instance_keeps_its_state_between_calls() -> None:
    counter = Counter.remote(10, step=2)
    refs = [counter.add.remote(1), counter.add.remote(), counter.add.remote(n=3)]
    assert flame.get(refs) == [12, 14, 20]


def test_two_instances_have_nothing_in_common() -> None:
    first, second = Counter.remote(), Counter.remote(100)
    assert flame.get([first.add.remote(), second.add.remote(), first.add.remote()]) == [1, 101, 2]


def test_all_calls_reach_one_and_the_same_instance() -> None:
    counter = Counter.remote()
    assert len(set(flame.get([counter.me.remote() for _ in range(20)]))) == 1


def test_calls_run_in_the_order_they_were_made() -> None:
    counter = Counter.remote()
    for n in range(200):
        counter.note.remote(n)
    assert flame.get(counter.read.remote()) == list(range(200))


def test_a_call_waits_for_the_one_before_it_even_if_that_waits_for_an_argument() -> None:
    counter, held = Counter.remote(), gate()
    counter.note.remote(held.wait.remote("first"))
    counter.note.remote("second")
    history = counter.read.remote()
    assert not history.done()
    held.open.remote()
    assert flame.get(history) == ["first", "second"]


def test_static_and_class_methods_can_be_called() -> None:
    counter = Counter.remote()
    assert flame.get([counter.twice.remote(4), counter.name.remote()]) == [8, "Counter"]


def test_an_exception_of_a_method_is_raised_by_get_and_the_instance_lives_on() -> None:
    counter = Counter.remote()
    flame.get(counter.add.remote())
    with pytest.raises(ValueError, match="on purpose") as caught:
        flame.get(counter.fail.remote())
    assert isinstance(caught.value, flame.TaskError)
    assert caught.value.function_name == "Counter.fail"
    assert flame.get(counter.add.remote()) == 2


def test_arguments_of_the_constructor_may_be_refs() -> None:
    counter = Counter.remote(flame.put(5), step=flame.remote(lambda: 2).remote())
    assert flame.get(counter.add.remote()) == 7


def test_an_exception_of_the_constructor_is_raised_by_every_call() -> None:
    @flame.remote
    class Broken:
        def __init__(self, value: int) -> None:
            raise ValueError(f"cannot start with {value}")

        def call(self) -> None:
            pass

    broken = Broken.remote(3)
    for _ in range(2):
        with pytest.raises(ValueError, match="cannot start with 3") as caught:
            flame.get(broken.call.remote())
        assert isinstance(caught.value, flame.TaskError)


def test_a_constructor_that_takes_a_failed_result_fails_with_its_error() -> None:
    @flame.remote
    def fail() -> None:
        raise KeyError("start")

    counter = Counter.remote(fail.remote())
    with pytest.raises(KeyError):
        flame.get(counter.add.remote())


def test_a_handle_can_be_passed_to_tasks() -> None:
    @flame.remote
    def use(counter: Any, times: int) -> int:
        return flame.get([counter.add.remote() for _ in range(times)])[-1]

    counter = Counter.remote()
    assert flame.get(use.remote(counter, 3)) == 3
    assert flame.get(use.remote(counter, 2)) == 5


def test_a_handle_inside_a_container_or_closed_over_is_a_handle_there() -> None:
    counter = Counter.remote()

    @flame.remote
    def use(handles: dict[str, Any]) -> bool:
        flame.get([handles["a"].add.remote(), counter.add.remote()])
        return bool(handles["a"] == counter)

    assert flame.get(use.remote({"a": counter})) is True
    assert flame.get(counter.add.remote()) == 3


def test_an_actor_may_keep_the_handle_of_another_and_call_it() -> None:
    @flame.remote
    class Owner:
        def __init__(self, counter: Any) -> None:
            self.counter = counter

        def bump(self) -> int:
            return int(flame.get(self.counter.add.remote()))

        def lend(self) -> list[Any]:
            return [self.counter]

    owner = Owner.remote(Counter.remote(7))  # nobody else has a handle of the counter
    assert flame.get(owner.bump.remote()) == 8
    lent = flame.get(owner.lend.remote())[0]
    del owner
    assert flame.get(lent.add.remote()) == 9


def test_a_task_may_make_an_actor_and_return_its_handle() -> None:
    @flame.remote
    def make(start: int) -> Any:
        return Counter.remote(start)

    assert flame.get(flame.get(make.remote(4)).add.remote()) == 5


def test_handles_are_equal_if_they_mean_the_same_instance() -> None:
    counter = Counter.remote()
    twin = flame.get(flame.put([counter]))[0]
    assert twin == counter
    assert len({counter, twin, copy.copy(counter), copy.deepcopy(counter)}) == 1
    assert Counter.remote() != counter


def test_an_actor_may_call_itself_without_waiting_and_the_call_comes_later() -> None:
    @flame.remote
    class Clock:
        def __init__(self) -> None:
            self.ticks: list[int] = []

        def tick(self, me: Any, left: int) -> None:
            if left:
                me.tick.remote(me, left - 1)
            self.ticks.append(left)

        def read(self) -> list[int]:
            return self.ticks

    clock = Clock.remote()
    flame.get(clock.tick.remote(clock, 1))
    assert flame.get(clock.read.remote()) == [1, 0]


def test_an_actor_that_waits_for_itself_is_told_that_it_never_can() -> None:
    @flame.remote
    class Knot:
        def outer(self, me: Any) -> Any:
            return flame.get(me.inner.remote())

        def inner(self) -> int:
            return 1

    knot = Knot.remote()
    with pytest.raises(flame.DeadlockError, match=r"Knot\.outer") as caught:
        flame.get(knot.outer.remote(knot))
    assert isinstance(caught.value, flame.TaskError)
    assert flame.get(knot.inner.remote()) == 1


def test_async_methods_of_an_actor_run_at_the_same_time() -> None:
    @flame.remote
    class Meeting:
        def __init__(self) -> None:
            self.present = 0
            self.everybody = asyncio.Event()

        async def join(self, expected: int) -> int:
            self.present += 1
            if self.present == expected:
                self.everybody.set()
            await self.everybody.wait()
            return self.present

        async def count(self) -> int:
            return self.present

    meeting = Meeting.remote()
    assert flame.get([meeting.join.remote(5) for _ in range(5)]) == [5] * 5
    assert flame.get(meeting.count.remote()) == 5


def test_an_async_method_may_await_other_tasks() -> None:
    @flame.remote
    def square(x: int) -> int:
        return x * x

    @flame.remote
    class Summer:
        async def squares(self, n: int) -> int:
            return sum(await asyncio.gather(*(square.remote(x) for x in range(n))))

    assert flame.get(Summer.remote().squares.remote(4)) == 14


def test_an_exception_of_an_async_method_is_raised_by_get() -> None:
    @flame.remote
    class Fails:
        async def fail(self) -> None:
            await asyncio.sleep(0)
            raise LookupError("async")

    with pytest.raises(LookupError, match="async"):
        flame.get(Fails.remote().fail.remote())


def test_max_concurrency_gives_every_call_its_result() -> None:
    @flame.remote(max_concurrency=4)
    class Pool:
        def work(self, x: int) -> int:
            return x + 1

    pool = Pool.remote()
    assert flame.get([pool.work.remote(x) for x in range(50)]) == list(range(1, 51))


def test_a_killed_actor_fails_every_later_call() -> None:
    counter = Counter.remote()
    flame.get(counter.add.remote())
    flame.kill(counter)
    with pytest.raises(flame.ActorDiedError, match="kill"):
        flame.get(counter.add.remote())
    flame.kill(counter)  # again: nothing happens
    assert flame.get(Counter.remote().add.remote()) == 1


def test_killing_an_actor_fails_the_calls_that_have_not_ended() -> None:
    held = gate()
    waiting = held.wait.remote()
    flame.kill(held)
    with pytest.raises(flame.ActorDiedError):
        flame.get(waiting)


def test_instances_with_special_methods_and_slots_work() -> None:
    @flame.remote
    class Slotted:
        __slots__ = ("items",)

        def __init__(self) -> None:
            self.items: list[int] = []

        def __len__(self) -> int:
            return len(self.items)

        def push(self, x: int) -> int:
            self.items.append(x)
            return len(self)

    slotted = Slotted.remote()
    assert flame.get([slotted.push.remote(0), slotted.push.remote(0)]) == [1, 2]


def test_a_class_may_inherit_its_methods() -> None:
    class Base:
        def hello(self) -> str:
            return f"hello from {type(self).__name__}"

    class Derived(Base):
        pass

    assert flame.get(flame.remote(Derived).remote().hello.remote()) == "hello from Derived"


def test_the_class_itself_still_makes_ordinary_instances() -> None:
    counter = Counter(5)
    assert counter.add(1) == 6
    assert isinstance(counter, Counter.__wrapped__)


def test_a_typed_actor_works_as_a_decorated_class_does() -> None:
    class Adder(flame.Actor):
        def __init__(self, start: int) -> None:
            self.value = start

        @flame.method
        def add(self, n: int) -> int:
            self.value += n
            return self.value

    adder = Adder.remote(1)
    assert flame.get([adder.add.remote(1), adder.add.remote(2)]) == [2, 4]


def test_many_actors_live_side_by_side() -> None:
    counters = [Counter.remote(n) for n in range(8)]
    assert flame.get([counter.add.remote() for counter in counters]) == list(range(1, 9))


def test_an_actor_ends_when_its_last_handle_is_gone(tmp_path: Any) -> None:
    @flame.remote
    class Leaving:
        def __init__(self, path: str) -> None:
            self.path = path

        def work(self) -> int:
            return os.getpid()

        def __del__(self) -> None:
            open(self.path, "w").close()

    from ..conftest import wait_until

    path = tmp_path / "gone"
    leaving = Leaving.remote(str(path))
    flame.get(leaving.work.remote())
    del leaving
    # The next call brings the inline engine's counts up to date.
    assert wait_until(lambda: flame.get(flame.put(True)) and path.exists())
