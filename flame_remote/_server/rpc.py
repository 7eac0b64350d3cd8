"""Puts a Frontend on a server: checks who calls, and turns what it raises into statuses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, NoReturn

import grpc
from google.protobuf import message_factory
from google.protobuf.message import DecodeError, Message

from flame_remote._proto import frontend_pb2

from .access import Access, AccessDenied, Context
from .commands import Refusal
from .frontend import Frontend
from .tables import Refused

_STATUS: Final = {
    Refusal.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Refusal.ALREADY_EXISTS: grpc.StatusCode.ALREADY_EXISTS,
    Refusal.INVALID_ARGUMENT: grpc.StatusCode.INVALID_ARGUMENT,
    Refusal.INTERNAL: grpc.StatusCode.INTERNAL,
    Refusal.RESULT: grpc.StatusCode.INTERNAL,  # of RPCs that have no Result to say it in
}


def handlers(frontend: Frontend, access: Access) -> grpc.GenericRpcHandler:
    """Return the service, for a server of grpc.aio."""
    service = frontend_pb2.DESCRIPTOR.services_by_name["Frontend"]
    methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
    for method in service.methods:
        streams = method.server_streaming
        make = (
            grpc.unary_stream_rpc_method_handler if streams else grpc.unary_unary_rpc_method_handler
        )
        guarded = _stream if streams else _unary
        given = message_factory.GetMessageClass(method.input_type)
        returned = message_factory.GetMessageClass(method.output_type)
        methods[method.name] = make(
            guarded(getattr(frontend, method.name), given, access),
            response_serializer=returned.SerializeToString,
        )
    return grpc.method_handlers_generic_handler(service.full_name, methods)


def _unary(
    method: Callable[[Any], Awaitable[Message]], given: type[Message], access: Access
) -> Any:
    async def handle(data: bytes, context: Context) -> Message:
        try:
            access.check(context)
            return await method(_parsed(given, data))
        except (Refused, AccessDenied) as refused:
            await _abort(context, refused)

    return handle


def _stream(
    method: Callable[[Any], AsyncIterator[Message]], given: type[Message], access: Access
) -> Any:
    async def handle(data: bytes, context: Context) -> AsyncIterator[Message]:
        try:
            access.check(context)
            async for message in method(_parsed(given, data)):
                yield message
        except (Refused, AccessDenied) as refused:
            await _abort(context, refused)

    return handle


def _parsed(given: type[Message], data: bytes) -> Message:
    try:
        return given.FromString(data)
    except DecodeError:
        name = given.DESCRIPTOR.full_name
        raise Refused(
            Refusal.INVALID_ARGUMENT, f"these {len(data)} bytes are no {name} message"
        ) from None


async def _abort(context: Context, refused: Refused | AccessDenied) -> NoReturn:
    status = refused.status if isinstance(refused, AccessDenied) else _STATUS[refused.why]
    await context.abort(status, refused.text)
    raise AssertionError("abort returned")
