"""One object as an engine knows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flame_remote._ids import ObjectId
from flame_remote._outcome import Kind

from .batch import Key

if TYPE_CHECKING:
    from .calls import Call
    from .lanes import Lane

Watcher = Callable[["Stored"], object]  # called once, when the object is there; must not block


class Stored:
    """A value, or the error or the call that stands in its place."""

    __slots__ = (
        "call",
        "count",
        "data",
        "dependents",
        "id",
        "inside",
        "kind",
        "lane",
        "mailbox",
        "name",
        "outside",
        "owner",
        "place",
        "polled",
        "was_read",
        "watchers",
    )

    def __init__(self, object_id: ObjectId, name: str, owner: str) -> None:
        self.id = object_id
        self.name = name  # of the function or actor, "" for a value that was put
        self.owner = owner
        self.count = 1
        self.kind: int = Kind.PENDING
        self.data: Any = None
        self.inside: tuple[ObjectId, ...] = ()  # refs in the value; held as long as this is
        self.was_read = False  # an error that was not is reported
        self.call: Call | None = None  # ours, that will make it
        self.place: tuple[str, str, str] | None = None  # Flame task whose reply has it: see Ticket
        self.mailbox: Key | None = None  # where its owner puts the outcome for those who borrow it
        self.polled = False  # a borrower looks into the mailbox
        self.outside: Any = None  # the address by which it is known outside this engine
        self.lane: Lane | None = None  # of an actor: where its calls go
        self.dependents: list[Call] = []
        self.watchers: list[Watcher] = []

    @property
    def done(self) -> bool:
        """Whether the value or an error is there."""
        return self.kind != Kind.PENDING

    def keys(self) -> list[Key]:
        """Return what lies in the cache for this object alone."""
        keys = [self.data] if self.kind == Kind.STORED else []
        if self.mailbox is not None:
            keys.append(self.mailbox)
        return keys


class Gone:
    """What an engine must do about objects that nobody refers to any more."""

    def __init__(self) -> None:
        self.keys: list[Key] = []  # to be deleted
        self.late: list[Stored] = []  # promised to us: to be deleted once they are there
        self.outside: list[Any] = []  # likewise deleted, by the address that was given out
        self.lanes: list[Lane] = []  # of actors that have lost their last handle
        self.unread: list[bytes] = []  # failures that nobody has looked at

    def __bool__(self) -> bool:
        return bool(self.keys or self.late or self.outside or self.lanes or self.unread)
