"""A scheduler with a memory: what it was told to do, and helpers that play the other side."""

from __future__ import annotations

from typing import Any, TypeVar

from flame_remote._proto import types_pb2
from flame_remote._server import commands as cmd
from flame_remote._server import events as ev
from flame_remote._server.limits import Limits
from flame_remote._server.records import Session, Task
from flame_remote._server.scheduler import Scheduler

C = TypeVar("C")


class Bench:
    """A scheduler with the application "app", at second 0."""

    def __init__(self, shim: types_pb2.Shim = types_pb2.Host, **limits: int) -> None:
        settings = {"instances": 4, "overcommit": 8, "starting": 2, "bind_attempts": 3, **limits}
        self.now = 0.0
        self.scheduler = Scheduler(Limits(**settings), "node", "i")
        self.commands: list[Any] = []
        spec = types_pb2.ApplicationSpec(shim=shim, command="run", delay_release=60)
        self.tell(ev.RegisterApplication("app", spec))

    def tell(self, event: ev.Event) -> list[Any]:
        """Give it an event; return (and keep) the commands."""
        self.commands = list(self.scheduler.handle(self.now, event))
        return self.commands

    def last(self, kind: type[C]) -> list[C]:
        """Return the commands of one kind among the last ones."""
        return [command for command in self.commands if isinstance(command, kind)]

    def open(self, session_id: str = "s", **spec: Any) -> Session:
        """Open a session of "app"."""
        spec = {"application": "app", **spec}
        self.tell(ev.CreateSession(session_id, types_pb2.SessionSpec(**spec)))
        return self.scheduler.tables.sessions[session_id]

    def call(self, session_id: str = "s", task_input: bytes = b"") -> Task:
        """Create a task."""
        self.tell(ev.CreateTask(session_id, task_input))
        (answer,) = self.last(cmd.Answer)
        assert isinstance(answer.record, Task)
        return answer.record

    def started(self) -> list[str]:
        """Return the ids of the instances that the last commands start."""
        return [command.instance.id for command in self.last(cmd.StartInstance)]

    def sent(self) -> list[tuple[str, int]]:
        """Return instance and task number of the tasks that the last commands send."""
        return [(command.instance_id, command.task.number) for command in self.last(cmd.RunTask)]

    def stopped(self) -> list[str]:
        """Return the ids of the instances that the last commands stop."""
        return [command.instance_id for command in self.last(cmd.StopInstance)]

    def enter(self, instance_id: str) -> None:
        """The instance has entered."""
        self.tell(ev.InstanceEntered(instance_id))

    def finish(self, instance_id: str, return_code: int = 0, message: str = "") -> None:
        """The instance has answered its task."""
        self.tell(ev.TaskReturned(instance_id, return_code, b"out", message))

    def fail(self, instance_id: str, code: int = 12, detail: str = "no") -> None:
        """The instance could not be started."""
        self.tell(ev.InstanceFailed(instance_id, code, detail))

    def refusal(self) -> tuple[cmd.Refusal, str]:
        """Return why the last request was refused."""
        (refuse,) = self.last(cmd.Refuse)
        return refuse.why, refuse.text
