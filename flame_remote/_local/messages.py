"""What the driver and a worker say to each other, and how each message is written down.

A frame is two little-endian u32, the length of what follows and how many file descriptors come
with it, then a pickle of `(code, *fields)`. Fields are plain data: values of users are bytes
inside, so that taking a message apart never runs their code. Table in docs/formats.md.
"""

from __future__ import annotations

import pickle
from struct import Struct
from typing import Any, Final, NamedTuple

HEADER: Final = Struct("<II")


class NotAMessage(ValueError):
    """Bytes that nobody of ours can have written."""


# A value inside a message: (kind, data, refs) of an Outcome, as a plain tuple.
Value = tuple[int, Any, tuple[int, ...]]
# An argument beside a task: (place, object id, kind, data).
Dependency = tuple[int | str, int, int, Any]
# A task: (id, target id or method name, payload, dependencies, send result at once).
TaskEntry = tuple[int, int | str, Any, tuple[Dependency, ...], bool]
# A result: (task id, kind, data, refs).
ResultEntry = tuple[int, int, Any, tuple[int, ...]]


# --- driver to worker ---------------------------------------------------------------------------


class RunTasks(NamedTuple):
    """Run these, in order. `helps`: on top of the task that is blocked now."""

    helps: bool
    tasks: list[TaskEntry]


class LoadTarget(NamedTuple):
    """Code that following tasks name by id; `kind` is TargetKind's value.

    `path` is the driver's sys.path if it has changed since the worker last heard of it.
    """

    target_id: int
    kind: str
    name: str
    code: bytes
    max_concurrency: int
    path: list[str] | None
    checkpoint_every: int = 0
    groups: tuple[tuple[str, int], ...] = ()


class About(NamedTuple):
    """What is special about a task that follows; most have none of this.

    `returns`: its value is taken apart into so many; None if it is kept as it is. `failures` says
    of each attempt that has raised before what there is to say. `group` is the concurrency group
    that an actor's call is in, "" for none.
    """

    task_id: int
    returns: int | None
    failures: tuple[str, ...]
    group: str = ""


class UnloadTarget(NamedTuple):
    """No task will name this code any more, unless it is loaded again."""

    target_id: int


class Segment(NamedTuple):
    """A segment of shared memory, or the spill file; its descriptor comes along."""

    segment_id: int


class Retire(NamedTuple):
    """A segment is gone; its owner tells the driver, and the driver those who know it."""

    segment_id: int


class Values(NamedTuple):
    """Answer to Fetch: one value for each object, or the first failure alone."""

    request_id: int
    values: list[tuple[int, int, Any]]  # (object id, kind, data)
    failed: bool


class Ready(NamedTuple):
    """Answer to Watch: which of the objects have ended."""

    request_id: int
    object_ids: list[int]


class Granted(NamedTuple):
    """Answer to Reserve and to Cancel."""

    request_id: int
    granted: bool
    free_bytes: int


class Deadlock(NamedTuple):
    """Answer to a Fetch that waits for itself."""

    request_id: int
    cycle: tuple[str, ...]


class Free(NamedTuple):
    """Extents of the worker's own arena that nobody needs any more, as (segment, offset, size)."""

    extents: list[tuple[int, int, int]]


class Shrink(NamedTuple):
    """Give back to the budget what the worker's arena does not use: others need it."""


class Stop(NamedTuple):
    """End, once nothing runs."""


# --- driver to worker, on the control socket ----------------------------------------------------


class Recall(NamedTuple):
    """Send finished results, and give back what has not started."""


class Interrupt(NamedTuple):
    """Drop this task if it has not started, interrupt it if it runs."""

    task_id: int


# --- worker to driver ---------------------------------------------------------------------------


class Hello(NamedTuple):
    """The worker is there."""


class Results(NamedTuple):
    """Tasks that have ended. `seconds`: per target, how many calls took how long."""

    results: list[ResultEntry]
    seconds: dict[int, tuple[int, float]]


class Counts(NamedTuple):
    """What this worker has begun, and has ceased, to refer to, and stored values that it no longer
    reads; and which exported targets none of its tasks can call any more. In this order."""

    held: list[int]
    dropped: list[int]
    unpinned: list[int]
    forgotten: tuple[int, ...] = ()


class Returned(NamedTuple):
    """Tasks that have not been started here and never will."""

    task_ids: list[int]


class Fetch(NamedTuple):
    """A task wants values. `blocks`: it waits in the main thread, so nothing else runs here."""

    request_id: int
    task_id: int
    object_ids: list[int]
    blocks: bool
    patient: bool
    returned: list[int]


class Watch(NamedTuple):
    """A task wants to know when `num_returns` of the objects have ended."""

    request_id: int
    task_id: int
    object_ids: list[int]
    num_returns: int
    blocks: bool
    returned: list[int]


class Abandon(NamedTuple):
    """Nobody waits for the answer to this Fetch or Watch any more."""

    request_id: int


class Submit(NamedTuple):
    """A call made by a task; the fields of TaskSpec."""

    task_id: int
    target_id: int
    payload: Any
    dependencies: tuple[tuple[int | str, int], ...]
    nested: tuple[int, ...]
    actor: int
    parent: int
    returns: tuple[int, ...] | None = None


class ExportTarget(NamedTuple):
    """A target that following Submits name by id; the fields of Target, its refs as ids."""

    target_id: int
    kind: str
    name: str
    code: bytes
    demand: tuple[tuple[str, int], ...]
    max_retries: int
    max_concurrency: int
    method: str
    refs: tuple[int, ...]
    limits: tuple[Any, ...] = ()
    environment: tuple[Any, ...] | None = None  # the fields of Environment
    restarts: tuple[int, ...] = ()
    max_task_retries: int | None = None
    groups: tuple[tuple[str, int], ...] = ()
    group: str = ""


class Put(NamedTuple):
    """A value that a task has put; the worker refers to it from now on."""

    object_id: int
    kind: int
    data: Any
    refs: tuple[int, ...]


class Reserve(NamedTuple):
    """The worker's arena wants to grow by so many bytes (answered), or has shrunk (negative)."""

    request_id: int
    size: int


class Cancel(NamedTuple):
    """A task cancels another, and with `recursive` what that has started."""

    request_id: int
    object_id: int
    force: bool
    recursive: bool = True


class Kill(NamedTuple):
    """A task ends an actor, or with `may_restart` only its process."""

    actor_id: int
    may_restart: bool = False


class Exit(NamedTuple):
    """The actor that lives here has decided to end: it starts no call any more."""

    how: str  # the end of a sentence


class KeepState(NamedTuple):
    """An object that this worker has put is the state of its actor from now on."""

    object_id: int


class Ask(NamedTuple):
    """A task wants to know, or to change, something that is no value: see questions.py."""

    request_id: int
    question: str
    arguments: tuple[Any, ...]


class Told(NamedTuple):
    """Answer to Ask, sent to the worker."""

    request_id: int
    answer: Any


class Record(NamedTuple):
    """From now on, tell how long each task ran, or which lines make refs. Sent to the worker."""

    spans: bool
    sites: bool


class Spans(NamedTuple):
    """When tasks ran: (task id, began, ended, thread), in seconds of the monotonic clock."""

    spans: list[tuple[int, float, float, int]]


class Sites(NamedTuple):
    """Which lines have made refs: (object id, "file:line")."""

    sites: list[tuple[int, str]]


MESSAGES: Final = (
    RunTasks, LoadTarget, Segment, Retire, Values, Ready, Granted, Deadlock, Free, Shrink, Stop,
    Recall, Interrupt, Hello, Results, Counts, Returned, Fetch, Watch, Abandon, Submit,
    ExportTarget, Put, Reserve, Cancel, Kill, Ask, Told, Record, Spans, Sites,
    UnloadTarget, About, Exit, KeepState,
)  # fmt: skip
_CODES: Final[dict[type, int]] = {message: code for code, message in enumerate(MESSAGES)}

Message = tuple[Any, ...]


def encode(message: Message, descriptors: int = 0) -> bytes:
    """Return the frame of a message."""
    body = pickle.dumps((_CODES[type(message)], *message), 5)
    return HEADER.pack(len(body), descriptors) + body


def decode(body: bytes | memoryview) -> Message:
    """Return the message in a frame's body. Raises NotAMessage if it is none of ours."""
    try:
        code, *fields = pickle.loads(body)
        return MESSAGES[code](*fields)
    except Exception as error:
        raise NotAMessage(f"not a message: {error}") from error
