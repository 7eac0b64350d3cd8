"""The program's side of an instance: a server on the socket that FLAME_INSTANCE_ENDPOINT names.

All calls of a service are made in the main thread, one after the other, as user code expects: it
may handle signals and run event loops there.
"""

from __future__ import annotations

import os
import queue
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, Protocol

import grpc
from google.protobuf.message import Message

from flame_remote._proto import shim_pb2, types_pb2

ENDPOINT: Final = "FLAME_INSTANCE_ENDPOINT"
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
)

_Work = tuple[Callable[[Any], Message], Message, "Future[Message]"]


class Service(Protocol):
    """What a program does. An exception fails the call; its text reaches the client."""

    def enter(self, context: shim_pb2.SessionContext) -> None:
        """Called once, before the first task."""

    def invoke(self, task_input: bytes | None) -> bytes | None:
        """Run one task; return its output."""

    def leave(self) -> None:
        """Called once, after the last task."""


def serve(service: Service) -> None:
    """Serve until the process is ended. To be called in the main thread; never returns."""
    endpoint = os.environ.get(ENDPOINT)
    if not endpoint:
        sys.exit(f"{ENDPOINT} is not set: this program is started by a Flame cluster")
    work: queue.SimpleQueue[_Work] = queue.SimpleQueue()
    server = grpc.server(ThreadPoolExecutor(2, "flame-instance"), options=_OPTIONS)
    server.add_generic_rpc_handlers((_handlers(service, work),))
    server.add_insecure_port(f"unix:{endpoint}")
    server.start()
    while True:
        call, request, answer = work.get()
        answer.set_result(call(request))


def _handlers(service: Service, work: queue.SimpleQueue[_Work]) -> grpc.GenericRpcHandler:
    def enter(request: shim_pb2.SessionContext) -> types_pb2.Result:
        return _result(lambda: service.enter(request))

    def leave(request: types_pb2.EmptyRequest) -> types_pb2.Result:
        return _result(service.leave)

    def invoke(request: shim_pb2.TaskContext) -> types_pb2.TaskResult:
        try:
            task_input = request.input if request.HasField("input") else None
            return types_pb2.TaskResult(return_code=0, output=service.invoke(task_input))
        except BaseException as error:
            return types_pb2.TaskResult(return_code=-1, message=_text_of(error))

    def in_main_thread(call: Callable[[Any], Message]) -> Callable[[Any, Any], Message]:
        def handle(request: Message, context: object) -> Message:
            answer: Future[Message] = Future()
            work.put((call, request, answer))
            return answer.result()

        return handle

    methods: dict[str, tuple[Callable[[Any], Message], type[Message], type[Message]]] = {
        "OnSessionEnter": (enter, shim_pb2.SessionContext, types_pb2.Result),
        "OnTaskInvoke": (invoke, shim_pb2.TaskContext, types_pb2.TaskResult),
        "OnSessionLeave": (leave, types_pb2.EmptyRequest, types_pb2.Result),
    }
    return grpc.method_handlers_generic_handler(
        "flame.v1.Instance",
        {
            name: grpc.unary_unary_rpc_method_handler(
                in_main_thread(call),
                request_deserializer=given.FromString,
                response_serializer=returned.SerializeToString,
            )
            for name, (call, given, returned) in methods.items()
        },
    )


def _result(call: Callable[[], None]) -> types_pb2.Result:
    try:
        call()
    except BaseException as error:
        return types_pb2.Result(return_code=-1, message=_text_of(error))
    return types_pb2.Result(return_code=0)


def _text_of(error: BaseException) -> str:
    """Return what the client is told, the text of the error; the traceback goes to the log."""
    traceback.print_exception(error)
    sys.stderr.flush()
    return str(error) or type(error).__name__
