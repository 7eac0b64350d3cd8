"""What Ray gives for ids: objects with `hex()` and `binary()`."""

from __future__ import annotations

from typing import Any

from flame_remote import ObjectRef
from flame_remote._foreign_names import ref_names


class UniqueID:
    """An id as Ray has them. Compared by its kind and value. Constant."""

    def __init__(self, id: bytes) -> None:
        self._bytes = id

    @classmethod
    def from_hex(cls, text: str) -> UniqueID:
        """Return the id that `hex` wrote."""
        return cls(bytes.fromhex(text))

    def hex(self) -> str:
        """Return the id in hexadecimal digits."""
        return self._bytes.hex()

    def binary(self) -> bytes:
        """Return the id's bytes."""
        return self._bytes

    def is_nil(self) -> bool:
        """Say whether this stands for no id: never."""
        return False

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), self._bytes))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.hex()})"


class TaskID(UniqueID):
    """The id of a call."""


class ActorID(UniqueID):
    """The id of an actor."""


class JobID(UniqueID):
    """The id of a session."""


class NodeID(UniqueID):
    """The id of this machine."""


class WorkerID(UniqueID):
    """The id of a process."""


def _as_future(ref: ObjectRef[Any]) -> Any:
    import asyncio

    return asyncio.wrap_future(ref.future())


# What Ray's refs have beside what ours have; as methods, so each makes a function.
ref_names.update(
    binary=lambda ref: lambda: bytes.fromhex(ref.hex()),
    is_nil=lambda ref: lambda: False,
    size=lambda ref: lambda: len(ref.hex()) // 2,
    task_id=lambda ref: lambda: TaskID.from_hex(ref.hex()),
    job_id=lambda ref: lambda: JobID.from_hex(ref.hex()[:32]),
    as_future=lambda ref: lambda: _as_future(ref),
    call_site=lambda ref: lambda: "",
    owner_address=lambda ref: lambda: b"",
    _on_completed=lambda ref: (
        lambda callback: ref.add_done_callback(
            lambda done: callback(done.exception() or done.get())
        )
    ),
)
