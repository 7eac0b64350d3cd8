"""What the scheduler wants done."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from .records import Application, Instance, Session, Task


class Refusal(Enum):
    """Why a request is refused; the first is told in a Result, the others as status of the call."""

    RESULT = "result"
    NOT_FOUND = "NOT_FOUND"
    ALREADY_EXISTS = "ALREADY_EXISTS"
    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    INTERNAL = "INTERNAL"


@dataclass(slots=True)
class Answer:
    """The request was carried out, on this record."""

    record: Application | Session | Task


@dataclass(slots=True)
class Refuse:
    """The request was not carried out; nothing has changed."""

    why: Refusal
    text: str


@dataclass(slots=True)
class SaveApplication:
    """Keep it over a restart."""

    application: Application


@dataclass(slots=True)
class ForgetApplication:
    """Keep it no longer."""

    name: str


@dataclass(slots=True)
class SaveSession:
    """Keep it over a restart, without its tasks."""

    session: Session


@dataclass(slots=True)
class ForgetSession:
    """Keep it and its tasks no longer; who watches its tasks is told that they are gone."""

    session_id: str


@dataclass(slots=True)
class SaveTask:
    """Keep it over a restart. A running task is kept as a pending one."""

    task: Task


@dataclass(slots=True)
class ForgetTask:
    """Keep it no longer."""

    session_id: str
    number: int


@dataclass(slots=True)
class TellWatchers:
    """The task is in another state."""

    task: Task


@dataclass(slots=True)
class StartInstance:
    """Install the package, start a process, enter the session."""

    instance: Instance
    session: Session
    application: Application


@dataclass(slots=True)
class RunTask:
    """Send the task to the instance."""

    instance_id: str
    task: Task


@dataclass(slots=True)
class StopInstance:
    """Let the instance leave its session, then end its process. `kill`: without ceremony."""

    instance_id: str
    kill: bool = False


@dataclass(slots=True)
class DropObjects:
    """Delete everything that an application has in the object cache."""

    application: str


@dataclass(slots=True)
class WakeAt:
    """Send TimePassed at this moment; replaces the one before."""

    moment: float


Command = (
    Answer
    | Refuse
    | SaveApplication
    | ForgetApplication
    | SaveSession
    | ForgetSession
    | SaveTask
    | ForgetTask
    | TellWatchers
    | StartInstance
    | RunTask
    | StopInstance
    | DropObjects
    | WakeAt
)
