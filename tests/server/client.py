"""A thin synchronous client of the Frontend service, and programs for its applications."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import grpc

from flame_remote._proto import frontend_pb2 as fp
from flame_remote._proto import frontend_pb2_grpc, types_pb2

SECONDS: Final = 30.0
ROOT: Final = Path(__file__).parent.parent.parent
PROGRAM: Final = Path(__file__).parent / "program.py"
ENDED: Final = (types_pb2.Succeed, types_pb2.Failed, types_pb2.Cancelled)


class Client:
    """Calls of one endpoint. Every call has a deadline."""

    def __init__(
        self, endpoint: str, credentials: grpc.ChannelCredentials | None = None, token: str = ""
    ) -> None:
        target = endpoint.partition("://")[2]
        options = [
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            ("grpc.use_local_subchannel_pool", 1),
        ]
        if credentials is None:
            self.channel = grpc.insecure_channel(target, options)
        else:
            self.channel = grpc.secure_channel(target, credentials, options)
        self.stub: Any = frontend_pb2_grpc.FrontendStub(self.channel)
        self.metadata = [("authorization", f"Bearer {token}")] if token else None

    def close(self) -> None:
        self.channel.close()

    def call(self, method: str, request: Any) -> Any:
        call = getattr(self.stub, method)
        return call(request, timeout=SECONDS, metadata=self.metadata, wait_for_ready=True)

    # --- applications -------------------------------------------------------------------

    def register(self, name: str, **spec: Any) -> types_pb2.Result:
        """Register an application; of `program.py` if there is no command."""
        environments: Mapping[str, str] = spec.pop("env", {})
        if "command" not in spec:
            spec.update(command=sys.executable, arguments=[str(PROGRAM)])
            environments = {"PYTHONPATH": str(ROOT), **environments}
        message = types_pb2.ApplicationSpec(**spec)
        for variable, value in environments.items():
            message.environments.add(name=variable, value=value)
        request = fp.RegisterApplicationRequest(name=name, application=message)
        return self.call("RegisterApplication", request)

    def unregister(self, name: str) -> types_pb2.Result:
        return self.call("UnregisterApplication", fp.UnregisterApplicationRequest(name=name))

    def applications(self) -> list[str]:
        found = self.call("ListApplication", fp.ListApplicationRequest())
        return [application.metadata.name for application in found.applications]

    # --- sessions -----------------------------------------------------------------------

    def open(self, session_id: str, application: str, **spec: Any) -> types_pb2.Session:
        message = types_pb2.SessionSpec(application=application, **spec)
        return self.call(
            "OpenSession", fp.OpenSessionRequest(session_id=session_id, session=message)
        )

    def session(self, session_id: str) -> types_pb2.Session:
        return self.call("GetSession", fp.GetSessionRequest(session_id=session_id))

    def shut(self, session_id: str) -> types_pb2.Session:
        return self.call("CloseSession", fp.CloseSessionRequest(session_id=session_id))

    def executors(self) -> list[types_pb2.Executor]:
        return list(self.call("ListExecutor", fp.ListExecutorRequest()).executors)

    # --- tasks --------------------------------------------------------------------------

    def send(self, session_id: str, task_input: bytes | None) -> str:
        """Create a task; return its id."""
        spec = types_pb2.TaskSpec(session_id=session_id, input=task_input)
        task: types_pb2.Task = self.call("CreateTask", fp.CreateTaskRequest(task=spec))
        return task.metadata.id

    def task(self, session_id: str, task_id: str) -> types_pb2.Task:
        return self.call("GetTask", fp.GetTaskRequest(session_id=session_id, task_id=task_id))

    def watch(self, session_id: str, task_id: str) -> Iterator[types_pb2.Task]:
        request = fp.WatchTaskRequest(session_id=session_id, task_id=task_id)
        return iter(self.call("WatchTask", request))

    def end_of(self, session_id: str, task_id: str) -> types_pb2.Task:
        """Wait for the end of a task."""
        *_, last = self.watch(session_id, task_id)
        assert last.status.state in ENDED
        return last

    def invoke(self, session_id: str, task_input: bytes | None) -> bytes:
        """Run a task; return its output. Raises AssertionError with the text of a failure."""
        task = self.end_of(session_id, self.send(session_id, task_input))
        assert task.status.state == types_pb2.Succeed, failure_of(task)
        return task.spec.output


def failure_of(task: types_pb2.Task) -> str:
    """Return the text with which a task has failed."""
    return next(e.message for e in task.status.events if e.code == types_pb2.Failed)


def refusal_of(call: Any, *arguments: Any, **options: Any) -> tuple[str, str]:
    """Make a call that is refused; return the status and the text."""
    try:
        call(*arguments, **options)
    except grpc.RpcError as error:
        return error.code().name, error.details()
    raise AssertionError("it was not refused")
