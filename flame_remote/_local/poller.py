"""Readiness of the engine's descriptors."""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from contextlib import ExitStack, suppress

Handler = Callable[[int], None]


class Poller:
    """What to do when a descriptor is ready, and two ways to wait for it.

    `poll` is for the thread that runs the engine. `wait_in_background` is for the engine's own
    thread, which must sleep on while another thread polls: it watches the set of descriptors from
    outside, and `arm(False)` makes it blind to them in half a microsecond, without waking it.
    """

    def __init__(self) -> None:
        """Begin with nobody to listen to. Raises OSError (EMFILE)."""
        self._handlers: dict[int, Handler] = {}
        self._closed = False
        with ExitStack() as undo:
            self._inner = undo.enter_context(select.epoll())
            self._outer = undo.enter_context(select.epoll())
            self._wakeup = _eventfd(undo)
            self._ending = _eventfd(undo)
            self._nudge = _eventfd(undo)
            self._outer.register(self._wakeup, select.EPOLLIN)
            self._outer.register(self._inner.fileno(), select.EPOLLIN)
            self._inner.register(self._ending, select.EPOLLIN)
            self.register(self._nudge, self._take_nudge)
            undo.pop_all()

    def register(self, descriptor: int, handler: Handler) -> None:
        """Call `handler(events)` whenever there is something to read."""
        self._handlers[descriptor] = handler
        self._inner.register(descriptor, select.EPOLLIN)

    def want_write(self, descriptor: int, wanted: bool) -> None:
        """Call the handler also when the descriptor takes more."""
        if descriptor in self._handlers:
            self._inner.modify(descriptor, select.EPOLLIN | (select.EPOLLOUT if wanted else 0))

    def unregister(self, descriptor: int) -> None:
        """Forget a descriptor, before it is closed."""
        if self._handlers.pop(descriptor, None) is not None:
            with suppress(OSError):
                self._inner.unregister(descriptor)

    def poll(self, timeout: float) -> list[tuple[int, int]]:
        """Return `(descriptor, events)` of what is ready, within `timeout` seconds; -1: ever."""
        return [] if self._closed else self._inner.poll(timeout)

    def handle(self, ready: list[tuple[int, int]]) -> None:
        """Call the handlers of what is still registered."""
        for descriptor, events in ready:
            handler = self._handlers.get(descriptor)
            if handler is not None:
                handler(events)

    def arm(self, armed: bool) -> None:
        """Let the background thread see what is ready, or not; nothing, once closed."""
        if not self._closed:
            self._outer.modify(self._inner.fileno(), select.EPOLLIN if armed else 0)

    def wait_in_background(self, timeout: float) -> None:
        """Block until something is ready while armed, or `wake` is called."""
        for descriptor, _ in self._outer.poll(timeout):
            if descriptor == self._wakeup:
                with suppress(BlockingIOError):
                    os.eventfd_read(self._wakeup)

    def wake(self) -> None:
        """Make `wait_in_background` return. Never blocks; nothing, once closed."""
        if not self._closed:
            os.eventfd_write(self._wakeup, 1)

    def nudge(self) -> None:
        """Make `poll` return, whoever waits in it. Never blocks; nothing, once closed."""
        if not self._closed:
            os.eventfd_write(self._nudge, 1)

    def _take_nudge(self, events: int) -> None:
        with suppress(BlockingIOError):
            os.eventfd_read(self._nudge)

    def end_waits(self) -> None:
        """Make every `poll` and `wait_in_background` return from now on."""
        os.eventfd_write(self._ending, 1)
        self.wake()

    def close(self) -> None:
        """Close all but the descriptors that others registered."""
        self._closed = True
        self._outer.close()
        self._inner.close()
        os.close(self._ending)
        os.close(self._nudge)
        os.close(self._wakeup)


def _eventfd(undo: ExitStack) -> int:
    descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    undo.callback(os.close, descriptor)
    return descriptor
