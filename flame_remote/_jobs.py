"""The jobs of one `joblib.Parallel`: those that wait, those under way, who takes in their ends."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from flame_remote._deadline import Deadline
from flame_remote._refs import ObjectRef

Callback = Callable[["Job"], object]


class Job:
    """One batch of calls. Written by its Jobs."""

    __slots__ = ("callback", "error", "has_ended", "ref", "submit", "values")

    def __init__(self, submit: Callable[[], ObjectRef[Any]], callback: Callback | None) -> None:
        self.submit: Callable[[], ObjectRef[Any]] | None = submit  # until it is under way
        self.callback = callback
        self.has_ended = False
        self.ref: ObjectRef[Any] | None = None  # while it is under way, and its result not fetched
        self.values: Any = None
        self.error: BaseException | None = None  # it could not even be submitted

    def result(self) -> Any:
        """Return the results of the calls, once it has ended; raise the first error."""
        if self.error is not None:
            raise self.error
        ref, self.ref = self.ref, None
        if ref is not None:
            self.values = ref.get()
        return self.values

    def end(self) -> None:
        """Note that it has ended, and tell joblib, which may submit the next."""
        self.has_ended = True
        if self.callback is not None:
            self.callback(self)


class Jobs:
    """Some jobs, of which so many at a time are under way. Safe to use from any thread.

    Ends are taken in by whoever waits for a job, in `wait`, or else by a thread.
    """

    def __init__(self, most: int, *, has_thread: bool) -> None:
        """Let `most` be under way; with `has_thread`, a thread takes in ends until `close`."""
        # Constant after construction.
        self._most = most
        # What the thread takes in; None ends it.
        self._ended: queue.SimpleQueue[ObjectRef[Any] | None] | None = None
        # Guarded by self._lock.
        self._lock = threading.Lock()
        self._waiting: deque[Job] = deque()  # for one of those under way to end
        self._running: dict[ObjectRef[Any], Job] = {}
        if has_thread:
            self._ended = queue.SimpleQueue()
            thread = threading.Thread(
                target=self._take_in, args=(self._ended,), name="flame-joblib", daemon=True
            )
            thread.start()

    def add(self, submit: Callable[[], ObjectRef[Any]], callback: Callback | None) -> Job:
        """Start a job, or let it wait for its turn. Does not block."""
        job = Job(submit, callback)
        with self._lock:
            self._waiting.append(job)
        self._fill()
        return job

    def wait(self, job: Job, deadline: Deadline) -> bool:
        """Wait for a job, and hand out the next ones meanwhile; say whether it has ended in time.

        Raises the error of any that ends meanwhile: the first failure ends all, whoever's turn it
        is.
        """
        while not job.has_ended:
            with self._lock:
                running = list(self._running)
            done = running[0]._engine.wait(running, 1, deadline)
            if not done:
                return False
            for ref in running:
                if ref._id in done and (ended := self._take(ref)) is not None:
                    ended.result()
                    ended.end()
        return True

    def abort(self) -> None:
        """Cancel what waits and what runs. More jobs can be added."""
        with self._lock:
            running, self._running = self._running, {}
            self._waiting.clear()
        for ref in running:
            ref.cancel()

    def close(self) -> None:
        """The last job has ended: let the thread end too. May be called twice."""
        if self._ended is not None:
            self._ended.put(None)

    def _fill(self) -> None:
        """Get as many of those that wait under way as may be."""
        refused: list[Job] = []
        with self._lock:
            while self._waiting and len(self._running) < self._most:
                job = self._waiting.popleft()
                submit, job.submit = job.submit, None
                assert submit is not None
                try:
                    job.ref = submit()
                except Exception as error:  # something that cannot travel: the calls have failed
                    job.error = error
                    refused.append(job)
                    continue
                self._running[job.ref] = job
                if self._ended is not None:
                    job.ref.add_done_callback(self._ended.put)
        for job in refused:
            job.end()

    def _take(self, ref: ObjectRef[Any]) -> Job | None:
        """Take out the job of a ref that has ended, and fill its place."""
        with self._lock:
            job = self._running.pop(ref, None)
        self._fill()
        return job  # None: it was aborted

    def _take_in(self, ended: queue.SimpleQueue[ObjectRef[Any] | None]) -> None:
        while (ref := ended.get()) is not None:
            if (job := self._take(ref)) is not None:
                job.end()
