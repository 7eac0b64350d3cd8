"""What has happened to a session or a task, as the cluster noted it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from .times import from_milliseconds

if TYPE_CHECKING:
    from flame_remote._proto import types_pb2

# Codes of a session's events; a task's are the state that it went into.
BIND_FAILED: Final = 1001  # an instance could not be started
NO_MORE_ATTEMPTS: Final = 1002  # and too often: the cluster starts none any more


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. `code` is a TaskState for a task, BIND_FAILED etc. for a session."""

    code: int
    message: str | None
    creation_time: datetime

    @classmethod
    def from_proto(cls, message: types_pb2.Event) -> Event:
        """Take an event from Flame's message."""
        text = message.message if message.HasField("message") else None
        return cls(message.code, text, from_milliseconds(message.creation_time))


def events_from_proto(messages: Iterable[types_pb2.Event]) -> tuple[Event, ...]:
    """Take events from Flame's messages, in their order."""
    return tuple(Event.from_proto(message) for message in messages)


def last_message(events: Iterable[Event], code: int) -> str | None:
    """Return the text of the last event with a code, if there is one that has a text."""
    messages = [event.message for event in events if event.code == code and event.message]
    return messages[-1] if messages else None
