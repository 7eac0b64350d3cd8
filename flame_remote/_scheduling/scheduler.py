"""Decides which task runs where."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Final, assert_never

from flame_remote._ids import ActorId, ObjectId, TaskId, WorkerId, origin_of
from flame_remote._scheduling.commands import (
    Command,
    EndTask,
    Ending,
    InterruptTask,
    KillWorker,
    RecallTasks,
    ReportDeadlock,
    SendTasks,
    StartWorker,
    StopWorker,
)
from flame_remote._scheduling.events import Event
