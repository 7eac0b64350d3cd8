"""The life of one instance, from installing its package to the end of its process."""

from __future__ import annotations

import asyncio
import logging
import shutil
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import grpc

from flame_remote._proto import shim_pb2, types_pb2

from . import events as ev
from .environment import Installed, InstallError, program_of, working_folder
from .processes import Process, StartError
from .records import Application, Session, Task
from .workshop import Workshop

log = logging.getLogger(__name__)

_Reply = TypeVar("_Reply")

INSTALL_FAILED: Final = 10  # Flame's codes of a failed bind
START_FAILED: Final = 11
ENTER_FAILED: Final = 12

# The socket exists an instant before it listens, so the first attempt may be refused.
_CHANNEL_OPTIONS: Final = (
    ("grpc.initial_reconnect_backoff_ms", 20),
    ("grpc.min_reconnect_backoff_ms", 20),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_http_proxy", 0),
)


class BindError(Exception):
    """An instance could not be started; `code` is Flame's."""

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail


class ProcessLost(Exception):
    """The process ended, or cannot be spoken to any more; the text says how."""


class InstanceLife:
    """One instance. `run` is its whole life; the other methods are called while it runs."""

    def __init__(
        self, workshop: Workshop, instance_id: str, session: Session, application: Application
    ) -> None:
        self._workshop = workshop
        self._id = instance_id
        self._session = session
        self._application = application
        self._socket = workshop.sockets.socket_of(instance_id)
        self._mailbox: asyncio.Queue[Task | None] = asyncio.Queue()  # None: look what has happened
        self._process: Process | None = None
        self._channel: grpc.aio.Channel | None = None
        self._binding: asyncio.Task[None] | None = None
        self._stopping = False
        self._entered = False
        self._task_sent = False

    def give(self, task: Task) -> None:
        """Hand over the next task."""
        self._mailbox.put_nowait(task)

    def stop(self, kill: bool) -> None:
        """Have it end; `kill`: whatever it is doing."""
        self._stopping = True
        self._mailbox.put_nowait(None)
        if self._binding is not None:
            self._binding.cancel()
        if kill and self._process is not None:
            self._process.send(signal.SIGKILL)

    async def run(self) -> None:
        """Live: bind, run tasks, leave. Tells the manager what happens, its end exactly once."""
        event: ev.Event
        try:
            event = await self._live()
        except Exception as error:  # a bug; but its session must not wait for ever
            log.exception("instance %s", self._id)
            reason = f"the session manager failed: {error!r}"
            event = ev.InstanceLost(self._id, reason, self._task_sent)
        await self._end_process()
        self._workshop.tell(event)

    async def _live(self) -> ev.Event:
        self._binding = asyncio.ensure_future(self._bind())
        try:
            await self._binding
        except BindError as error:
            return ev.InstanceFailed(self._id, error.code, error.detail)
        except asyncio.CancelledError:
            if not self._stopping:
                raise  # the manager itself ends
            return ev.InstanceGone(self._id)
        self._binding = None
        self._entered = True
        self._workshop.tell(ev.InstanceEntered(self._id))
        try:
            await self._work()
        except ProcessLost as lost:
            return ev.InstanceLost(self._id, str(lost), self._task_sent)
        return ev.InstanceGone(self._id)

    # --- binding ------------------------------------------------------------------------

    async def _bind(self) -> None:
        """Make a process that has entered the session. Raises BindError."""
        installed = await self._install()
        await self._start(installed)
        await self._enter()

    async def _install(self) -> Installed:
        try:
            return await self._workshop.installer.install(self._application)
        except InstallError as error:
            raise BindError(INSTALL_FAILED, str(error)) from error

    async def _start(self, installed: Installed) -> None:
        shop, application = self._workshop, self._application
        try:
            program = program_of(
                *(application.name, application.spec, shop.surroundings, installed),
                *(self._id, self._socket),
            )
        except (OSError, ValueError) as error:
            raise BindError(START_FAILED, str(error)) from error
        try:
            self._process = process = await shop.launcher.start(self._id, program)
        except OSError as error:
            raise BindError(START_FAILED, str(error)) from error
        process.ended.add_done_callback(lambda _: self._mailbox.put_nowait(None))
        try:
            await process.started()
        except StartError as error:
            command = program.argv[0]
            raise BindError(
                START_FAILED, f"failed to start service by command {command}: {error}"
            ) from error
        await self._socket_appears(process, program.argv)

    async def _socket_appears(self, process: Process, argv: list[str]) -> None:
        appears = asyncio.ensure_future(self._workshop.sockets.appears(self._socket))
        try:
            awaited: set[asyncio.Future[Any]] = {appears, process.ended}
            done, _ = await asyncio.wait(
                awaited,
                timeout=self._workshop.patience.start,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            appears.cancel()
        if appears in done:
            return
        command = " ".join(argv)
        if process.ended in done:
            text = f"{command}: {process.obituary()}"
        else:
            text = (
                f"{command} (pid {process.pid}) does not listen on FLAME_INSTANCE_ENDPOINT "
                f"after {self._workshop.patience.start:g} s"
            )
        raise BindError(START_FAILED, text)

    async def _enter(self) -> None:
        spec = self._application.spec
        context = shim_pb2.SessionContext(
            session_id=self._session.id,
            application=_context_of(self._application.name, spec),
            common_data=self._session.spec.common_data
            if self._session.spec.HasField("common_data")
            else None,
        )
        self._channel = grpc.aio.insecure_channel(f"unix:{self._socket}", _CHANNEL_OPTIONS)
        call = self._channel.unary_unary(
            "/flame.v1.Instance/OnSessionEnter",
            request_serializer=shim_pb2.SessionContext.SerializeToString,
            response_deserializer=types_pb2.Result.FromString,
        )(context, timeout=self._workshop.patience.enter, wait_for_ready=True)
        try:
            result = await self._answer(call)
        except ProcessLost as lost:
            raise BindError(ENTER_FAILED, str(lost)) from lost
        except grpc.aio.AioRpcError as error:
            raise BindError(ENTER_FAILED, _describe(error)) from error
        if result.return_code:
            raise BindError(ENTER_FAILED, result.message or f"it returned {result.return_code}")

    # --- tasks --------------------------------------------------------------------------

    async def _work(self) -> None:
        """Run tasks until told to stop. Raises ProcessLost."""
        assert self._channel is not None
        assert self._process is not None
        invoke = self._channel.unary_unary(
            "/flame.v1.Instance/OnTaskInvoke",
            request_serializer=shim_pb2.TaskContext.SerializeToString,
            response_deserializer=types_pb2.TaskResult.FromString,
        )
        while True:
            task = await self._mailbox.get()
            if self._stopping:
                return
            if self._process.ended.done():
                raise ProcessLost(self._process.obituary())
            if task is None:
                continue
            context = shim_pb2.TaskContext(
                task_id=str(task.number), session_id=task.session_id, input=task.input
            )
            self._task_sent = True
            try:
                result = await self._answer(invoke(context))
            except grpc.aio.AioRpcError as error:
                # The connection is whole; this task only cannot be sent, or its result not read.
                self._told(-1, None, _describe(error))
                continue
            output = result.output if result.HasField("output") else None
            self._told(result.return_code, output, result.message)

    def _told(self, return_code: int, output: bytes | None, message: str) -> None:
        self._task_sent = False
        self._workshop.tell(ev.TaskReturned(self._id, return_code, output, message))

    async def _answer(self, call: grpc.aio.UnaryUnaryCall[Any, _Reply]) -> _Reply:
        """Return the answer to a call.

        Raises ProcessLost if the process ends instead, AioRpcError if it lives and refuses.
        """
        process = self._process
        assert process is not None

        def give_up(_: object) -> None:
            call.cancel()

        process.ended.add_done_callback(give_up)
        try:
            return await call
        except asyncio.CancelledError:
            if not process.ended.done():
                raise
            raise ProcessLost(process.obituary()) from None
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            await asyncio.wait({process.ended}, timeout=self._workshop.patience.obituary)
            if process.ended.done():
                raise ProcessLost(process.obituary()) from error
            raise ProcessLost(
                f"instance {self._id} has closed its connection: {_describe(error)}"
            ) from error
        finally:
            process.ended.remove_done_callback(give_up)

    # --- the end ------------------------------------------------------------------------

    async def _end_process(self) -> None:
        """End the process politely if it still lives, and remove what it had."""
        process, patience = self._process, self._workshop.patience
        if process is not None and not process.ended.done():
            if self._entered and self._stopping and self._channel is not None:
                await self._leave(self._channel)
            process.send(signal.SIGTERM)
            await asyncio.wait({process.ended}, timeout=patience.end)
            process.send(signal.SIGKILL)
            await process.ended
        if self._channel is not None:
            await self._channel.close()
        self._remove_files()

    async def _leave(self, channel: grpc.aio.Channel) -> None:
        call = channel.unary_unary(
            "/flame.v1.Instance/OnSessionLeave",
            request_serializer=types_pb2.EmptyRequest.SerializeToString,
            response_deserializer=types_pb2.Result.FromString,
        )(types_pb2.EmptyRequest(), timeout=self._workshop.patience.leave)
        with suppress(ProcessLost, grpc.aio.AioRpcError):
            await self._answer(call)

    def _remove_files(self) -> None:
        self._socket.unlink(missing_ok=True)
        self._workshop.surroundings.logs.ended(self._id)
        if not self._application.spec.working_directory:
            folder = working_folder(self._application.spec, self._workshop.surroundings, self._id)
            shutil.rmtree(Path(folder), ignore_errors=True)


def _context_of(name: str, spec: types_pb2.ApplicationSpec) -> shim_pb2.ApplicationContext:
    context = shim_pb2.ApplicationContext(name=name, shim=spec.shim)
    for field in ("image", "command", "working_directory", "url", "installer"):
        if spec.HasField(field):
            setattr(context, field, getattr(spec, field))
    return context


def _describe(error: grpc.aio.AioRpcError) -> str:
    return f"{error.code().name}: {error.details()}"
