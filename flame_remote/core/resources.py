"""What one instance of a session takes of a cluster: CPUs, memory, GPUs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

from flame_remote._sizes import size_in_bytes
from flame_remote.exceptions import InvalidOptionError

if TYPE_CHECKING:
    from flame_remote._proto import types_pb2

_KEYS: Final = {"cpu": "cpu", "mem": "memory", "memory": "memory", "gpu": "gpu"}
_LIMITS: Final = {"cpu": 2**64, "memory": 2**64, "gpu": 2**31}  # the types on the wire
_EXAMPLE: Final = "'cpu=1,mem=1g,gpu=1'"


@dataclass(frozen=True, slots=True)
class ResourceRequirement:
    """What one instance takes while it exists: whole CPUs, bytes of memory, whole GPUs.

    A cluster counts these and enforces none of them. Where a session has no requirement at all, the
    cluster gives it one of its own, commonly 1 CPU and 1 GiB.
    """

    cpu: int = 0
    memory: int = 0
    gpu: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            number = getattr(self, field.name)
            if isinstance(number, bool) or not isinstance(number, int):
                raise TypeError(
                    f"{field.name} of a ResourceRequirement must be a whole number, not "
                    f"{number!r}; ResourceRequirement.from_string({_EXAMPLE}) reads text"
                )
            if not 0 <= number < _LIMITS[field.name]:
                raise InvalidOptionError(
                    f"{field.name} of a ResourceRequirement must be 0 to "
                    f"{_LIMITS[field.name] - 1}, not {number}"
                )

    @classmethod
    def from_string(cls, text: str) -> ResourceRequirement:
        """Read a requirement such as "cpu=1,mem=1g,gpu=1".

        Args:
            text: pairs `key=value` with commas between them. Keys are cpu, mem or memory, and gpu;
                what is not named is 0. Memory is bytes, or has a suffix: k, m, g, t, p, each times
                1024, with or without "b" or "ib" behind it.

        Returns:
            The requirement.

        Raises:
            InvalidOptionError: the text is none; it is a ValueError too.
        """
        return cls(**dict(_pairs(text)))

    @classmethod
    def from_proto(cls, message: types_pb2.ResourceRequirement) -> ResourceRequirement:
        """Take a requirement from Flame's message."""
        return cls(cpu=message.cpu, memory=message.memory, gpu=message.gpu)

    def to_proto(self) -> types_pb2.ResourceRequirement:
        """Return Flame's message."""
        from flame_remote._proto import types_pb2

        return types_pb2.ResourceRequirement(cpu=self.cpu, memory=self.memory, gpu=self.gpu)


def _pairs(text: str) -> Iterator[tuple[str, int]]:
    """Yield field and number for each part of a requirement's text."""
    for part in text.split(","):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not value:
            raise _wrong(text, f"{part.strip()!r} is not key=value")
        field = _KEYS.get(key.lower())
        if field is None:
            raise _wrong(text, f"there is no resource {key!r}, only cpu, mem and gpu")
        yield field, _number(text, field, value)


def _number(text: str, field: str, value: str) -> int:
    """Return the number that a value means; only memory may have a suffix."""
    size = size_in_bytes(value)
    if size is None or (field != "memory" and not value.isdecimal()):
        expected = "a size such as 512m or 1g" if field == "memory" else "a whole number"
        raise _wrong(text, f"{field} must be {expected}, not {value!r}")
    return size


def _wrong(text: str, reason: str) -> InvalidOptionError:
    return InvalidOptionError(
        f"resource requirement {text!r} cannot be read: {reason}; an example is {_EXAMPLE}"
    )
