"""What travels between an engine and a worker: batches of calls, and replies with their outcomes.

Plain tuples, pickled. Both sides run the same code, as the engine brings its own package along,
so there is no version in here.
"""

from __future__ import annotations

import pickle
from enum import IntEnum
from typing import Any, NamedTuple

from flame_remote._ids import ObjectId, TaskId
from flame_remote._outcome import Kind


class Key(NamedTuple):
    """Where an object lies in the cache: which replica has it, under which key, how large it is."""

    endpoint: str
    key: str
    size: int


class Form(IntEnum):
    """What `Ticket.data` holds. The first five are those of Kind."""

    PROMISED = int(Kind.PENDING)  # a Key where the owner will put the outcome
    ATOM = int(Kind.ATOM)
    PICKLED = int(Kind.PICKLED)
    STORED = int(Kind.STORED)
    FAILED = int(Kind.FAILED)
    SENT = 5  # (session id, Flame task id, sender): the reply to the sender has the outcome
    ACTOR = 6  # (session id, application, max_concurrency)


class Ticket(NamedTuple):
    """What a process that gets a ref must know to use it.

    `owner` is the engine that frees the object; `inside` are the refs that its value contains,
    which have tickets of their own beside this one.
    """

    id: ObjectId
    owner: str
    name: str
    form: int
    data: Any
    inside: tuple[ObjectId, ...] = ()


class TargetEntry(NamedTuple):
    """User code. `code` is its pickle, or the Key under which that lies; empty for a method.

    With `refs` inside, it is loaded for each batch anew, so that a worker keeps none of them.
    """

    id: int
    kind: str
    name: str
    code: bytes | Key
    method: str
    max_concurrency: int
    refs: bool = False


class CallEntry(NamedTuple):
    """One call. `values` pairs the place of an argument with its kind and data.

    `returns` are the objects that the value is taken apart into, None if it is one. It may run for
    `timeout` seconds; nobody waits for it any more `deadline` seconds after it was made.
    """

    id: TaskId
    target_id: int
    payload: tuple[Any, ...] | bytes
    values: tuple[tuple[int | str, int, Any], ...] = ()
    returns: tuple[ObjectId, ...] | None = None
    timeout: float | None = None
    deadline: float | None = None


class Batch(NamedTuple):
    """Calls for one session, in order. `sender` is the engine that waits for the outcomes.

    `claim` is a key that must be taken before the calls may start, "" if nobody else would start
    them. `cancelled` are calls of earlier batches, of an actor that runs several at a time; `ends`
    tells an actor that nobody will call it any more.
    """

    sender: str
    session: str
    common: bytes
    targets: tuple[TargetEntry, ...]
    calls: tuple[CallEntry, ...]
    tickets: tuple[Ticket, ...]
    claim: str = ""
    cancelled: tuple[TaskId, ...] = ()
    ends: bool = False


class Result(NamedTuple):
    """How a call ended. `inside` are the refs in the value; their tickets are in the reply.

    `parts` are what the value was taken apart into, if that was asked for and could be.
    """

    id: ObjectId
    kind: int
    data: Any
    inside: tuple[ObjectId, ...] = ()
    parts: tuple[Any, ...] = ()  # each a Result

    @property
    def objects(self) -> tuple[Result, ...]:
        """All objects that it tells of."""
        return (*self.parts, self)


class Reply(NamedTuple):
    """What came of a batch.

    `process` names the worker process, `number` counts its replies. `seconds` says for each target
    how many calls took how long, `held` which objects of others the process still refers to,
    `blocked` which targets have waited for other calls, `running` how many calls of the sender go
    on. `taken`: the claim was not to be had, nothing was run.
    """

    process: str
    pid: int
    number: int
    results: tuple[Result, ...]
    tickets: tuple[Ticket, ...]
    seconds: dict[int, tuple[int, float]]
    held: tuple[ObjectId, ...]
    blocked: tuple[int, ...] = ()
    running: int = 0
    taken: bool = False


def dump(message: Batch | Reply) -> bytes:
    """Return a batch or a reply as bytes."""
    return pickle.dumps(message, 5)


def load_batch(data: bytes) -> Batch:
    """Read what `dump` wrote."""
    batch = pickle.loads(data)
    assert isinstance(batch, Batch)
    return batch


def load_reply(data: bytes | memoryview) -> Reply:
    """Read what `dump` wrote."""
    reply = pickle.loads(data)
    assert isinstance(reply, Reply)
    return reply
