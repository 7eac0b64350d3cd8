"""The shell of the scheduler: gives it events and time, and does what it commands."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from . import commands as cmd
from . import events as ev
from .owners import OwnerWatch
from .records import Application, Instance, Session, Task
from .scheduler import Scheduler
from .store import Store, StoreError
from .tables import Refused, Tables
from .watching import Watchers

log = logging.getLogger(__name__)

QUIET_SECONDS: Final = 0.5  # without a commit, after which the store is tidied
RECENT_BYTES: Final = 32 << 20  # inputs and outputs of ended tasks that stay in memory


class Executors(Protocol):
    """Runs instances; tells the manager what becomes of them."""

    def start(self, instance: Instance, session: Session, application: Application) -> None:
        """Start an instance; InstanceEntered or InstanceFailed follows."""

    def run(self, instance_id: str, task: Task) -> None:
        """Send a task; TaskReturned or InstanceLost follows."""

    def stop(self, instance_id: str, kill: bool) -> None:
        """End an instance; InstanceGone follows."""


class Manager:
    """Owns scheduler, store and watchers. Belongs to the loop's thread.

    Nothing that a client may rely on is told before it is committed: answers to requests, and ends
    of tasks. All that happens in one turn of the loop is one commit.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        store: Store,
        owners: OwnerWatch,
        drop_objects: Callable[[str], None],
        on_broken: Callable[[BaseException], None],
    ) -> None:
        """Take the parts.

        `drop_objects` is called with an application whose objects are to be deleted, `on_broken`
        once if the store fails: nothing can be promised any more.
        """
        self.watchers = Watchers()
        self.executors: Executors
        self._scheduler = scheduler
        self._store = store
        self._owners = owners
        self._on_broken = on_broken
        self._drop_objects = drop_objects
        self._ended: list[Task] = []  # to be told when they are committed
        self._committed: asyncio.Future[None] | None = None
        self._recent: deque[tuple[Task, int]] = deque()
        self._recent_bytes = 0
        self._alarm: asyncio.TimerHandle | None = None
        self._tidying: asyncio.TimerHandle | None = None
        self._last_commit = 0.0  # by the loop's clock
        self._epoch = time.time() - time.monotonic()  # so that our time never goes back

    @property
    def tables(self) -> Tables:
        """The records; to be read only."""
        return self._scheduler.tables

    def now(self) -> float:
        """Return seconds since the epoch, on a clock that is never set."""
        return self._epoch + time.monotonic()

    def restore(self) -> None:
        """Take in what the store has, and go on with it."""
        self._carry_out(self._scheduler.restore(self.now(), *self._store.load()))
        for application in self.tables.applications.values():
            self._watch_owner(application)

    def tell(self, event: ev.Event) -> None:
        """Give the scheduler an event that nobody waits for an answer to."""
        self._carry_out(self._scheduler.handle(self.now(), event))

    async def ask(self, request: ev.Request) -> Application | Session | Task:
        """Carry out a request; return the record when it is committed. Raises Refused."""
        record = self._carry_out(self._scheduler.handle(self.now(), request))
        assert record is not None, request
        await self.committed()
        return record

    async def committed(self) -> None:
        """Wait until everything that has happened so far is committed."""
        if self._committed is not None:
            await asyncio.shield(self._committed)

    def payload(self, task: Task) -> tuple[bytes | None, bytes | None]:
        """Return input and output of a task, from memory or from the store."""
        if task.archived:
            return self._store.payload(task)
        return task.input, task.output

    def close(self) -> None:
        """Commit what is queued and stop the clock."""
        self._commit()
        for timer in (self._alarm, self._tidying):
            if timer is not None:
                timer.cancel()

    # --- commands -----------------------------------------------------------------------

    def _carry_out(self, commands: list[cmd.Command]) -> Application | Session | Task | None:
        answer = None
        store = self._store
        for command in commands:
            match command:
                case cmd.SaveTask(task):
                    store.save_task(task)
                case cmd.TellWatchers(task):
                    if task.state.ended:
                        self._ended.append(task)
                    else:
                        self.watchers.tell(task)
                case cmd.RunTask(instance_id, task):
                    self.executors.run(instance_id, task)
                case cmd.Answer(record):
                    answer = record
                case cmd.Refuse(why, text):
                    raise Refused(why, text)
                case cmd.StartInstance(instance, session, application):
                    self.executors.start(instance, session, application)
                case cmd.StopInstance(instance_id, kill):
                    self.executors.stop(instance_id, kill)
                case cmd.WakeAt(moment):
                    self._wake_at(moment)
                case cmd.SaveSession(session):
                    store.save_session(session)
                case cmd.ForgetSession(session_id):
                    store.forget_session(session_id)
                    self.watchers.vanish(session_id)
                case cmd.ForgetTask(session_id, number):
                    store.forget_task(session_id, number)
                case cmd.SaveApplication(application):
                    store.save_application(application)
                    self._watch_owner(application)
                case cmd.ForgetApplication(name):
                    store.forget_application(name)
                case cmd.DropObjects(name):
                    self._drop_objects(name)
        if store.dirty and self._committed is None:
            loop = asyncio.get_running_loop()
            self._committed = loop.create_future()
            loop.call_soon(self._commit)
        return answer

    def _watch_owner(self, application: Application) -> None:
        if application.owner:
            self._owners.watch(application.name, application.owner)

    def _wake_at(self, moment: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        delay = max(0.0, moment - self.now())
        self._alarm = asyncio.get_running_loop().call_later(delay, self._wake)

    def _wake(self) -> None:
        self._alarm = None
        self.tell(ev.TimePassed())

    # --- commits ------------------------------------------------------------------------

    def _commit(self) -> None:
        if self._committed is None:
            return
        committed, self._committed = self._committed, None
        try:
            tasks = self._store.commit()
        except StoreError as error:
            log.critical("cannot write: %s", error)
            self._on_broken(error)
            return  # nobody is answered: what was asked for is not kept
        committed.set_result(None)
        self._tidy_later()
        ended, self._ended = self._ended, []
        for task in ended:
            self.watchers.tell(task)
        for task in tasks:
            if task.state.ended and not task.archived:
                self._keep_recent(task)

    def _tidy_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._last_commit = loop.time()
        if self._tidying is None:
            self._tidying = loop.call_later(QUIET_SECONDS, self._tidy_if_quiet)

    def _tidy_if_quiet(self) -> None:
        loop = asyncio.get_running_loop()
        quiet_at = self._last_commit + QUIET_SECONDS
        if loop.time() < quiet_at:
            self._tidying = loop.call_at(quiet_at, self._tidy_if_quiet)
            return
        self._tidying = None
        self._store.tidy()

    def _keep_recent(self, task: Task) -> None:
        size = len(task.input or b"") + len(task.output or b"")
        self._recent.append((task, size))
        self._recent_bytes += size
        while self._recent_bytes > RECENT_BYTES:
            old, size = self._recent.popleft()
            self._recent_bytes -= size
            old.input = old.output = None
            old.archived = True
