"""Who waits for the workers' messages: a caller that waits for a result, or else a thread of ours.

A result that passes through another thread costs two switches of threads, and the caller waits for
both. So a thread that waits *leads*: it polls and handles what comes until its own wait is over,
then hands over to another that waits, or to the background thread.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from flame_remote._deadline import Deadline

from .bell import Bell
from .poller import Poller
from .spin import AdaptiveSpin
from .turn import Turn

# Memory that nobody refers to any more goes back this soon, also while nobody calls anything.
_MEMORY_SECONDS: Final = 0.05


class Wait(Protocol):
    """Something that a thread waits for."""

    done: bool
    bell: Bell | None
    nudge: Callable[[], None] | None


class Engine(Protocol):
    """What the loop needs of the engine's core."""

    def next_timer(self) -> float | None:
        """Return the time.monotonic() at which `on_timer` is due, None for never."""

    def holds_values(self) -> bool:
        """Say whether memory waits for its last ref to die."""
        ...

    def drain(self) -> None:
        """Take in what other threads have left. Called inside a turn."""

    def on_timer(self) -> None:
        """Called inside a turn, when due."""

    def on_bug(self, error: Exception) -> None:
        """The engine itself has failed: nothing must wait for it any more. Outside a turn."""

    def after_turn(self) -> None:
        """Called after each turn, outside it."""


class Loop:
    """Handles what comes, in whichever thread waits. Safe to call from any thread."""

    def __init__(self, turn: Turn, poller: Poller, core: Engine) -> None:
        # Constant after construction.
        self._turn = turn
        self._poller = poller
        self._core = core
        self._thread = threading.Thread(target=self._run, name="flame-loop", daemon=True)
        # Guarded by self._turn.
        self._leader: int | None = None  # thread
        self._followers: list[Wait] = []
        self._closed = False
        self._left = threading.Event()  # set once the loop is closed and nobody leads
        # Belongs to the leader.
        self._spin = AdaptiveSpin()
        self._thread.start()

    def run_until(self, wait: Wait, deadline: Deadline) -> bool:
        """Block until `wait.done`; return False if the deadline comes first."""
        me = threading.get_ident()
        nested = self._leader == me  # in a callback, that is
        try:
            while not wait.done:
                if self._may_lead(me, wait):
                    self._lead(wait, deadline)
                elif wait.bell is not None:
                    wait.bell.wait(deadline.remaining())
                if deadline.expired():
                    return wait.done
            return True
        finally:
            try:
                self._leave(me, wait, leads_on=nested)
            except KeyboardInterrupt:  # it may have come before anything was done
                self._leave(me, wait, leads_on=nested)
                raise

    def pump(self) -> None:
        """Handle what has come, without waiting. The caller has its turn."""
        self._poller.handle(self._poller.poll(0))

    def wake(self) -> None:
        """Let whoever polls look again at what is to be done. Fit for a finaliser."""
        if self._leader is None:
            self._poller.wake()
        else:
            self._poller.nudge()

    @property
    def has_leader(self) -> bool:
        """Whether some caller is waiting, and so looks at the timers itself."""
        return self._leader is not None

    def is_led_here(self) -> bool:
        """Say whether the calling thread is the one that leads."""
        return self._leader == threading.get_ident()

    def close(self) -> None:
        """End the background thread. Those who wait must have been told before."""
        with self._turn:
            self._closed = True
            if self._leader in (None, threading.get_ident()):
                self._left.set()
        self._poller.end_waits()
        self._left.wait()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    # --- leading ------------------------------------------------------------------------

    def _may_lead(self, me: int, wait: Wait) -> bool:
        with self._turn:
            # `me` already: a callback that runs in the leading thread waits, too.
            if self._leader in (None, me):
                self._leader = me
                self._poller.arm(False)
                wait.nudge = self._nudge_leader
                return True
            if wait.bell is None:
                wait.bell = Bell()
                self._followers.append(wait)
            return wait.done

    def _lead(self, wait: Wait, deadline: Deadline) -> None:
        until = self._spin.until()
        if until and self._look(wait, until):
            return
        while not wait.done:
            timeout = self._timeout(deadline.remaining())
            # Only here may Ctrl-C strike: what was polled and not handled is polled again.
            ready = self._poller.poll(timeout)
            self._handle(ready)
            if deadline.expired():
                return

    def _look(self, wait: Wait, until: float) -> bool:
        """Poll without sleeping, for a moment."""
        poll, handle = self._poller.poll, self._handle
        while time.perf_counter() < until:
            ready = poll(0)
            if ready:
                handle(ready)
                if wait.done:
                    self._spin.hit()
                    return True
            os.sched_yield()
        self._spin.miss()
        return False

    def _nudge_leader(self) -> None:
        """What the leader waits for has come by way of another thread: it must not sleep on."""
        if self._leader != threading.get_ident():
            self._poller.nudge()

    def _leave(self, me: int, wait: Wait, *, leads_on: bool) -> None:
        with self._turn:
            wait.nudge = None
            if wait.bell is not None and wait in self._followers:
                self._followers.remove(wait)
            if self._leader == me and not leads_on:
                self._leader = None
            if self._leader is not None:
                return
            if self._closed:
                self._left.set()
            # Also one that was called to lead, and finds its own wait over, calls the next.
            if self._followers:
                follower = self._followers[0]
                if follower.bell is not None:
                    follower.bell.ring()
            else:
                self._poller.arm(True)

    def _handle(self, ready: list[tuple[int, int]]) -> None:
        try:
            with self._turn:
                self._poller.handle(ready)
                self._core.drain()
                due = self._core.next_timer()
                if due is not None and time.monotonic() >= due:
                    self._core.on_timer()
        except Exception as error:
            self._core.on_bug(error)
        # A callback may wait, too: it then leads in the place of the wait that it interrupts.
        self._core.after_turn()

    def _timeout(self, remaining: float | None) -> float:
        due = self._core.next_timer()
        if due is not None:
            until_timer = max(0.0, due - time.monotonic())
            remaining = until_timer if remaining is None else min(remaining, until_timer)
        # Rounded up: epoll counts in milliseconds, and waking early would be waking twice.
        return -1 if remaining is None else remaining + 0.0005

    # --- the background thread ----------------------------------------------------------

    def _run(self) -> None:
        while True:
            # The last ref of a value dies in silence: a finaliser may do no more than note it.
            longest = _MEMORY_SECONDS if self._core.holds_values() else None
            self._poller.wait_in_background(self._timeout(longest))
            if self._closed:
                return
            self._handle(self._poller.poll(0) if self._leader is None else [])
