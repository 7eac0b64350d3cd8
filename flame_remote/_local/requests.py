"""What a task asks the driver, and the answers."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable

from flame_remote._deadline import NEVER, Deadline
from flame_remote._execute.stack import require_stack
from flame_remote._ids import TaskId

from .callbacks import Callbacks
from .messages import Abandon, Message, Returned, Values
from .shelter import Struck
from .values import unpin
from .worker import Worker


class Requests:
    """Sends requests and waits for their answers. Any thread, the main one sheltered."""

    def __init__(self, worker: Worker) -> None:
        # Constant after construction.
        self._worker = worker
        self._link = worker.link
        self._numbers = itertools.count(1)
        # Any thread adds its own requests; taken away, and answered, inside a turn of the link.
        self._answers: dict[int, Message | None] = {}
        self._callbacks = Callbacks(worker.link)

    def ask(self, make: Callable[[int], Message]) -> Message:
        """Send a request and return its answer; nothing else is run meanwhile."""
        request = next(self._numbers)
        self._answers[request] = None
        self._link.send(make(request))
        self._link.pump_until(lambda: self._answers[request] is not None, NEVER)
        answer = self._forget(request)
        assert answer is not None
        return answer

    def call_back(self, make: Callable[[int], Message], callback: Callable[[], None]) -> None:
        """Send a request, and have `callback` called in another thread when it is answered."""
        request = next(self._numbers)
        self._callbacks.add(request, callback)
        self._link.send(make(request))
        self._callbacks.watch()

    def lends(self) -> bool:
        """Say whether this thread runs a task that lends its slot while it waits."""
        main = threading.current_thread() is threading.main_thread()
        return main and self._worker.serve_calls is None

    def callbacks_run(self) -> bool:
        """Say whether a callback runs, or is to run now."""
        return not self._callbacks.is_idle()

    def let_callbacks_run(self, is_over: Callable[[], bool]) -> None:
        """Wait until `is_over`, or callbacks have run, or this task is cancelled. Main thread."""
        worker = self._worker
        wanted = worker.shelter.wanted
        self._link.pump_until(
            lambda: is_over() or self._callbacks.is_idle() or worker.running in wanted, NEVER
        )

    def wait_for(
        self, make: Callable[[int, bool, list[TaskId]], Message], deadline: Deadline
    ) -> Message | None:
        """Send a request that may take long; return its answer, None if the deadline came first.

        `make` gets the request's number, whether it blocks the worker, and the tasks that go back
        with it. In the main thread, run meanwhile what the driver sends to be run on top of this
        task. Raises Struck if the task is cancelled.
        """
        require_stack("a wait")
        worker, answers = self._worker, self._answers
        blocks = self.lends()
        gives_back = blocks and worker.gives_back
        wanted = worker.shelter.wanted
        request = next(self._numbers)

        def is_over() -> bool:
            return (
                answers[request] is not None
                or (blocks and (bool(worker.helping) or worker.running in wanted))
                or (gives_back and bool(worker.inbox))
            )

        answer = answers[request] = None
        self._link.flush()
        self._link.send(make(request, blocks, worker.take_unstarted() if gives_back else []))
        try:
            while True:
                in_time = self._link.pump_until(is_over, deadline)
                if (answer := answers[request]) is not None:
                    return answer
                if blocks and worker.shelter.take(worker.running):
                    raise Struck
                if not in_time:
                    return None
                if gives_back and worker.inbox:
                    worker.give_back()
                if blocks:
                    worker.run_helping()
        finally:
            late = self._forget(request)
            if late is None:
                self._link.send(Abandon(request))
            elif answer is None:
                self._discard(late)
            if blocks and worker.helping:
                self._return_helping()

    def take_answer(self, message: Message) -> None:
        """Take in an answer. The reading thread has its turn."""
        request: int = message[0]
        if request in self._answers:
            self._answers[request] = message
        elif not self._callbacks.take_answer(request):
            self._discard(message)  # it has crossed our Abandon

    def _forget(self, request: int) -> Message | None:
        with self._link.turn:
            return self._answers.pop(request)

    def _discard(self, answer: Message) -> None:
        """Let go of what the driver has pinned for an answer that nobody looks at."""
        if isinstance(answer, Values):
            unpin(answer.values, self._link.counts.unpinned)

    def _return_helping(self) -> None:
        returned = []
        while self._worker.helping:
            returned.append(self._worker.helping.popleft()[0])
        self._link.send(Returned(returned))
