"""Time limits where nobody can interrupt a call: looked at before it runs, and after its end."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from flame_remote._ids import TaskId
from flame_remote._spec import TaskSpec
from flame_remote.exceptions import FlameError, TaskDeadlineError, TaskTimeoutError


class Limits:
    """What the calls of an engine have of time limits; most have none. Any thread."""

    def __init__(self) -> None:
        # Each key is written by one thread at a time; a dict's methods are atomic.
        self._deadlines: dict[TaskId, tuple[float, TaskSpec]] = {}  # whose, beside when
        self._began: dict[TaskId, float] = {}

    def submitted(self, spec: TaskSpec, stack: Sequence[TaskId]) -> None:
        """Note a call that is made in these tasks, the innermost last."""
        own = spec.target.limits.deadline
        found = [] if own is None else [(time.monotonic() + own, spec)]
        found += [self._deadlines[task] for task in stack[-1:] if task in self._deadlines]
        if found:
            self._deadlines[spec.id] = min(found, key=lambda pair: pair[0])

    def began(self, spec: TaskSpec) -> None:
        """Note that a call runs from now on."""
        if spec.target.limits.timeout is not None:
            self._began[spec.id] = time.monotonic()

    def deadline_of(self, task_id: TaskId) -> float:
        """Return when a call must have ended, on time.monotonic(); infinite for any time."""
        deadline, _ = self._deadlines.get(task_id, (math.inf, None))
        return deadline

    def lateness(self, spec: TaskSpec) -> FlameError | None:
        """Return the error of a call if it is late by now."""
        now = time.monotonic()
        if (known := self._deadlines.get(spec.id)) is not None and now >= known[0]:
            of = known[1].target
            return TaskDeadlineError(spec.target.name, of.limits.deadline or 0.0, of.name)
        limit, began = spec.target.limits.timeout, self._began.get(spec.id)
        if limit is not None and began is not None and now - began > limit:
            return TaskTimeoutError(spec.target.name, limit)
        return None

    def ended(self, task_id: TaskId) -> None:
        """Forget a call."""
        self._deadlines.pop(task_id, None)
        self._began.pop(task_id, None)
