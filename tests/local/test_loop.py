from __future__ import annotations

import os
import random
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

import pytest

from flame_remote._deadline import NEVER, Deadline
from flame_remote._local.loop import Loop
from flame_remote._local.objects import StoredObject
from flame_remote._local.poller import Poller
from flame_remote._local.turn import Turn
from flame_remote._local.waits import Waiter

THREADS = 8


class Bell:
    """A connection whose first byte ends a wait; `heard_in` is the thread that took it."""

    def __init__(self, engine: Engine) -> None:
        self.waiter = Waiter(1, stop_at_failure=False)
        self.heard = threading.Event()
        self.heard_in = ""
        self.then: Callable[[], None] | None = None  # run outside the turn
        self._engine = engine
        self._ours, self._theirs = socket.socketpair()
        with engine.turn:
            engine.poller.register(self._ours.fileno(), self._hear)

    def ring(self) -> None:
        self._theirs.send(b"!")

    def close(self) -> None:
        with self._engine.turn:
            self._engine.poller.unregister(self._ours.fileno())
        self._ours.close()
        self._theirs.close()

    def _hear(self, ready: int) -> None:
        assert self._engine.turn.is_mine()
        try:
            self._ours.recv(1, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return  # two threads saw it, the other was first
        self.heard_in = threading.current_thread().name
        self.waiter.note(1, StoredObject(""))
        if self.then is not None:
            self._engine.callbacks.append(self.then)
        self.heard.set()


class Engine:
    """The least that a loop works for."""

    def __init__(self) -> None:
        self.turn = Turn()
        self.poller = Poller()
        self.callbacks: deque[Callable[[], None]] = deque()
        self.timer: float | None = None
        self.ticked_in = ""
        self.ticked = threading.Event()
        self.bells: list[Bell] = []
        self.loop = Loop(self.turn, self.poller, self)

    def bell(self) -> Bell:
        self.bells.append(bell := Bell(self))
        return bell

    def waiting(self) -> int:
        """Return how many threads wait."""
        with self.turn:
            return self.loop.has_leader + len(self.loop._followers)

    def start_waiting(self, bell: Bell, name: str, deadline: Deadline = NEVER) -> threading.Thread:
        """Wait for a bell in a thread of its own; return once it does."""
        number = self.waiting()
        thread = threading.Thread(
            target=self.loop.run_until, args=(bell.waiter, deadline), name=name
        )
        thread.start()
        while self.waiting() == number:
            os.sched_yield()
        return thread

    def next_timer(self) -> float | None:
        return self.timer

    def holds_values(self) -> bool:
        return False

    def drain(self) -> None:
        assert self.turn.is_mine()

    def on_timer(self) -> None:
        assert self.turn.is_mine()
        self.timer = None
        self.ticked_in = threading.current_thread().name
        self.ticked.set()

    def on_bug(self, error: Exception) -> None:
        raise error

    def after_turn(self) -> None:
        assert not self.turn.is_mine()
        while self.callbacks:
            self.callbacks.popleft()()

    def close(self) -> None:
        self.loop.close()
        for bell in self.bells:
            bell.close()
        self.poller.close()


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    engine.close()


def test_thread_that_waits_handles_what_comes_itself(engine: Engine) -> None:
    bell = engine.bell()
    thread = engine.start_waiting(bell, "caller")
    bell.ring()
    thread.join()
    assert bell.heard_in == "caller"
    assert engine.waiting() == 0


def test_background_thread_handles_what_comes_while_nobody_waits(engine: Engine) -> None:
    bell = engine.bell()
    bell.ring()
    assert bell.heard.wait(30)
    assert bell.heard_in == "flame-loop"


def test_background_thread_takes_over_when_the_last_wait_ends(engine: Engine) -> None:
    first, second = engine.bell(), engine.bell()
    thread = engine.start_waiting(first, "caller")
    first.ring()
    thread.join()
    second.ring()
    assert second.heard.wait(30)
    assert second.heard_in == "flame-loop"


def test_wait_that_is_over_before_it_begins_returns_at_once(engine: Engine) -> None:
    assert engine.loop.run_until(Waiter(0, stop_at_failure=False), NEVER)
    assert engine.waiting() == 0


def test_wait_ends_at_its_deadline(engine: Engine) -> None:
    assert not engine.loop.run_until(Waiter(1, stop_at_failure=False), Deadline(0.001))
    assert engine.waiting() == 0


def test_follower_ends_at_its_deadline_and_leads_nobody(engine: Engine) -> None:
    bell, other = engine.bell(), engine.bell()
    leader = engine.start_waiting(bell, "leader")
    assert not engine.loop.run_until(other.waiter, Deadline(0.001))
    assert engine.waiting() == 1
    bell.ring()
    leader.join()
    assert bell.heard_in == "leader"


def test_leader_ends_the_waits_of_others_and_leads_on(engine: Engine) -> None:
    bell, other = engine.bell(), engine.bell()
    leader = engine.start_waiting(bell, "leader")
    follower = engine.start_waiting(other, "follower")
    other.ring()
    follower.join()
    assert other.heard_in == "leader"
    bell.ring()
    leader.join()
    assert bell.heard_in == "leader"


def test_leadership_is_handed_over_between_eight_waiting_threads(engine: Engine) -> None:
    chance = random.Random(1)
    for _ in range(20):
        bells = {str(number): engine.bell() for number in range(THREADS)}
        threads = {name: engine.start_waiting(bell, name) for name, bell in bells.items()}
        for name in chance.sample(sorted(bells), THREADS):
            bells[name].ring()
            threads[name].join(30)
            assert not threads[name].is_alive()
            # Whoever led, it was one of those that still waited.
            assert bells[name].heard_in in threads
            del threads[name], bells[name]
        assert engine.waiting() == 0


def test_many_threads_that_wait_again_and_again_all_go_on(engine: Engine) -> None:
    rounds = 200
    heard = [0] * THREADS

    def wait_often(number: int) -> None:
        for _ in range(rounds):
            bell = Bell(engine)
            bell.ring()
            heard[number] += engine.loop.run_until(bell.waiter, NEVER)
            bell.close()

    threads = [threading.Thread(target=wait_often, args=(n,)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heard == [rounds] * THREADS
    assert engine.waiting() == 0


def test_keyboard_interrupt_ends_the_wait_and_hands_over(engine: Engine) -> None:
    followers: list[threading.Thread] = []
    bell, other = engine.bell(), engine.bell()

    def interrupt() -> None:
        while not engine.loop.has_leader:
            os.sched_yield()
        followers.append(engine.start_waiting(other, "follower"))
        os.kill(os.getpid(), signal.SIGINT)

    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    with pytest.raises(KeyboardInterrupt):
        engine.loop.run_until(bell.waiter, NEVER)
    interrupter.join()
    other.ring()
    followers[0].join()
    assert other.heard_in == "follower"


def test_callback_that_waits_in_the_leading_thread_is_served_there(engine: Engine) -> None:
    bell, inner, end = engine.bell(), engine.bell(), engine.bell()
    served: list[bool] = []

    def wait_inside() -> None:
        inner.ring()
        served.append(engine.loop.run_until(inner.waiter, Deadline(30)))

    bell.then = wait_inside
    thread = engine.start_waiting(end, "leader")
    bell.ring()
    assert inner.heard.wait(30)
    end.ring()
    thread.join()
    assert served == [True]
    assert inner.heard_in == "leader"


def test_leader_leads_on_after_a_callback_of_its_own_has_waited(engine: Engine) -> None:
    bell, inner, end = engine.bell(), engine.bell(), engine.bell()
    leads: list[bool] = []
    looked = threading.Event()

    def wait_inside() -> None:
        inner.ring()
        engine.loop.run_until(inner.waiter, Deadline(30))
        leads.append(engine.loop.has_leader)
        looked.set()

    bell.then = wait_inside
    thread = engine.start_waiting(end, "leader")
    bell.ring()
    assert looked.wait(30)
    end.ring()
    thread.join()
    assert leads == [True]


def test_leader_whose_wait_another_thread_ends_wakes_up(engine: Engine) -> None:
    bell = engine.bell()
    thread = engine.start_waiting(bell, "leader")
    while not engine.loop._spin._misses:  # then it sleeps
        os.sched_yield()
    with engine.turn:  # as when another thread cancels the task
        bell.waiter.note(1, StoredObject(""))
    thread.join(5)
    woken = not thread.is_alive()
    bell.ring()
    thread.join()
    assert woken


def test_leader_hears_of_a_timer_that_another_thread_has_set(engine: Engine) -> None:
    bell = engine.bell()
    thread = engine.start_waiting(bell, "leader")
    engine.timer = time.monotonic()
    engine.loop.wake()
    woken = engine.ticked.wait(5)
    bell.ring()
    thread.join()
    assert woken
    assert engine.ticked_in == "leader"


def test_timer_is_run_by_the_background_thread_when_nobody_waits(engine: Engine) -> None:
    engine.timer = time.monotonic() + 0.001
    engine.loop.wake()
    assert engine.ticked.wait(30)
    assert engine.ticked_in == "flame-loop"


def test_timer_is_run_by_the_thread_that_waits(engine: Engine) -> None:
    bell = engine.bell()
    engine.timer = time.monotonic() + 0.001
    thread = engine.start_waiting(bell, "caller")
    assert engine.ticked.wait(30)
    bell.ring()
    thread.join()
    assert engine.ticked_in == "caller"


def test_pump_handles_what_has_come_and_does_not_wait(engine: Engine) -> None:
    bell, other = engine.bell(), engine.bell()
    thread = engine.start_waiting(other, "caller")
    with engine.turn:  # so that the caller can take nothing
        engine.loop.pump()
        bell.ring()
        engine.loop.pump()
    assert bell.heard_in == threading.current_thread().name
    other.ring()
    thread.join()


def test_loop_can_be_closed_by_its_own_thread(engine: Engine) -> None:
    bell = engine.bell()
    closed = threading.Event()

    def close() -> None:
        engine.loop.close()
        closed.set()

    bell.then = close
    bell.ring()
    assert closed.wait(30)
