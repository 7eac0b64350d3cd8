"""`Lock`, `Semaphore` and `Event`: as those of `threading`, for the processes of a session."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

from flame_remote._actor import ActorClass
from flame_remote._api import get
from flame_remote._option_checks import whole_number
from flame_remote._options import ActorOptions, changed
from flame_remote._permits import PermitsActor
from flame_remote._queue import wait_limit
from flame_remote._refs import ObjectRef
from flame_remote.exceptions import FlameError
from flame_remote.runner.source import Source


def _actor(cls: type, name: str, options: dict[str, Any] | None) -> ActorClass[Any]:
    what = f"the actor of a {name}"
    source = Source(cls, name, Source.of(cls).signature)
    return ActorClass(source, changed(ActorOptions(), options or {}, what))


class Semaphore:
    """At most so many at a time: shared by whoever has a copy, pass it to tasks and actors.

    Use it with `with` or `async with`. First come, first served. It lives as long as one of its
    copies does. A permit that was taken in a task, or in a call of an actor, goes back when that
    has ended, at the latest: whether it returned, raised, or lost its process. If it is tried
    again, that means its last attempt, or the next one that takes a permit in another process. What
    the main program, or a thread that a task has started, takes is only given back by `release`. So
    is, on a Flame cluster, what tasks take.
    Safe to use from any thread. A task that waits lends its CPUs to others. On the inline engine,
    where calls run in the thread that makes them, only another thread can end a wait.
    """

    _name = "Semaphore"
    # The task that the actor was told of last; of this copy.
    _told = 0

    def __init__(self, value: int = 1, *, actor_options: dict[str, Any] | None = None) -> None:
        """Make one with all its permits there.

        Args:
            value: how many permits there are.
            actor_options: options of the actor in which it lives; see ActorOptions.

        Raises:
            InvalidOptionError: `value` is less than 1, or an option is none.
            TypeError: `value` is no whole number.
        """
        permits = whole_number("value", value, at_least=1)
        self._actor = _actor(PermitsActor, self._name, actor_options).remote(permits)

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        """Take a permit; say whether that was possible. Blocks until there is one.

        Args:
            blocking: whether to wait.
            timeout: seconds to wait at most; None waits as long as it takes.

        Raises:
            ValueError: `timeout` is negative.
            ActorDiedError: its actor is gone.
        """
        token, answer = self._ask(wait_limit(blocking, timeout))
        try:
            return bool(get(answer))
        except BaseException:  # Ctrl-C, a cancel: nobody would know of the permit
            self._give_up(token)
            raise

    async def acquire_async(self, blocking: bool = True, timeout: float | None = None) -> bool:
        """As `acquire`, without blocking the event loop."""
        token, answer = self._ask(wait_limit(blocking, timeout))
        try:
            return bool(await answer)
        except BaseException:
            self._give_up(token)
            raise

    def release(self) -> None:
        """Give a permit back; as in `threading`, it need not be one that was taken here.

        Raises:
            RuntimeError: all permits are there.
        """
        self._check_released(get(self._actor.release.remote(self._owner())))

    async def release_async(self) -> None:
        """As `release`, without blocking the event loop."""
        self._check_released(await self._actor.release.remote(self._owner()))

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *about: object) -> None:
        self.release()

    async def __aenter__(self) -> bool:
        return await self.acquire_async()

    async def __aexit__(self, *about: object) -> None:
        await self.release_async()

    def _ask(self, limit: float | None) -> tuple[int, ObjectRef[bool]]:
        """Ask for a permit; return the token of the request, and the ref of its answer."""
        engine = self._actor._flame_ref._engine
        token, owner = engine.new_id(), self._owner()
        task = owner[0]
        result = engine.result_of_task() if task != self._told else None
        answer = self._actor.acquire.remote(token, owner, limit, [] if result is None else [result])
        self._told = task
        return token, answer

    def _owner(self) -> tuple[int, int]:
        return self._actor._flame_ref._engine.current_task(), os.getpid()

    def _give_up(self, token: int) -> None:
        with suppress(FlameError):
            self._actor.forget.remote(token)

    def _check_released(self, was_held: bool) -> None:
        if not was_held:
            raise RuntimeError(f"release() of a {self._name} of which nobody holds anything")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._actor == other._actor

    def __hash__(self) -> int:
        return hash(self._actor)

    def __repr__(self) -> str:
        return f"<{self._name} {self._actor!r}>"

    def __getstate__(self) -> dict[str, Any]:
        return {"_actor": self._actor}


class Lock(Semaphore):
    """One at a time: a `threading.Lock` for the processes of a session; see Semaphore for how long
    it is held. Not reentrant.
    """

    _name = "Lock"

    def __init__(self, *, actor_options: dict[str, Any] | None = None) -> None:
        """Make a lock that nobody holds.

        Args:
            actor_options: options of the actor in which it lives; see ActorOptions.
        """
        super().__init__(1, actor_options=actor_options)

    def locked(self) -> bool:
        """Say whether somebody holds it."""
        return not get(self._actor.free.remote())


class _EventActor:
    """Its methods are coroutines, so that any number of calls can wait."""

    def __init__(self) -> None:
        import asyncio

        self._asyncio = asyncio
        self._event = asyncio.Event()

    async def wait(self, timeout: float | None) -> bool:
        if timeout != 0:
            with suppress(self._asyncio.TimeoutError):
                await self._asyncio.wait_for(self._event.wait(), timeout)
        return self._event.is_set()

    async def set(self) -> None:
        self._event.set()

    async def clear(self) -> None:
        self._event.clear()


class Event:
    """Something that happens once: a `threading.Event`, shared by whoever has a copy.

    Pass it to tasks and actors. It lives as long as one of its copies does. Safe to use from any
    thread. A task that waits lends its CPUs to others. On the inline engine, where calls run in the
    thread that makes them, only another thread can end a wait.
    """

    def __init__(self, *, actor_options: dict[str, Any] | None = None) -> None:
        """Make an event that has not happened.

        Args:
            actor_options: options of the actor in which it lives; see ActorOptions.
        """
        self._actor = _actor(_EventActor, "Event", actor_options).remote()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it has happened; say whether it has.

        Args:
            timeout: seconds to wait at most; None waits as long as it takes.

        Raises:
            ValueError: `timeout` is negative.
            ActorDiedError: its actor is gone.
        """
        return bool(get(self._actor.wait.remote(wait_limit(True, timeout))))

    async def wait_async(self, timeout: float | None = None) -> bool:
        """As `wait`, without blocking the event loop."""
        return bool(await self._actor.wait.remote(wait_limit(True, timeout)))

    def set(self) -> None:
        """Have it happen: whoever waits goes on."""
        get(self._actor.set.remote())

    def clear(self) -> None:
        """Have it not happened: from now on `wait` waits again."""
        get(self._actor.clear.remote())

    def is_set(self) -> bool:
        """Say whether it has happened."""
        return bool(get(self._actor.wait.remote(0)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Event) and self._actor == other._actor

    def __hash__(self) -> int:
        return hash(self._actor)

    def __repr__(self) -> str:
        return f"<Event {self._actor!r}>"
