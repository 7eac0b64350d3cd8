"""Calls of a generator function, or method, whose items come one by one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from flame_remote._execute.producing import Producing
from flame_remote._far_ends import FunctionEnd, MethodEnd
from flame_remote._options import ActorOptions, MethodOptions, TaskOptions
from flame_remote._registry import service_of
from flame_remote._session import ensure_engine
from flame_remote._signature import CallSignature
from flame_remote._stream import ObjectRefGenerator
from flame_remote.exceptions import InvalidOptionError
from flame_remote.runner.source import Source, by_name

# What a generator's iteration cannot have: it takes as long as somebody wants its items.
_NOT_FOR_STREAMS: Final = (
    "timeout",
    "deadline",
    "priority",
    "max_calls",
    "retries",
    "retry_exceptions",
    "cache",
)


class StreamedCalls:
    """The calls of one generator function: each is an actor that makes an item when it is asked.

    Constant after construction; safe to use from any thread.
    """

    def __init__(self, source: Source, options: TaskOptions) -> None:
        """Raises InvalidOptionError if the options cannot be had."""
        check_stream_options(source.name, options)
        producing = Producing.of(source.value, source.name, by_name(source.value))
        self._source = Source(producing, source.name, source.signature)
        self._name = options.name or source.name
        self._backpressure = options.backpressure
        self._options = ActorOptions(
            num_cpus=options.num_cpus,
            num_gpus=options.num_gpus,
            resources=options.resources,
            name=options.name,
            memory=options.memory,
            runtime_env=options.runtime_env,
        )

    def submit(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> ObjectRefGenerator[Any]:
        """Begin an iteration. Raises SerializationError, UnschedulableError."""
        service = service_of(ensure_engine(), self._source, self._options)
        far = FunctionEnd(service.submit(args, kwargs), self._name)
        return ObjectRefGenerator(far, self._backpressure)


def start_method_stream(
    far: MethodEnd,
    signature: CallSignature | None,
    options: MethodOptions,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> ObjectRefGenerator[Any]:
    """Begin an iteration of a generator method. Raises SerializationError."""
    far.begin(signature, args, kwargs)
    return ObjectRefGenerator(far, options.backpressure)


def check_stream_options(name: str, options: TaskOptions | MethodOptions) -> None:
    """Raise InvalidOptionError for what a generator's iteration cannot have."""
    ordinary = type(options)()
    for option in _NOT_FOR_STREAMS:
        if getattr(options, option, None) != getattr(ordinary, option, None):
            raise InvalidOptionError(
                f"the generator {name} cannot have {option}: its items are made as they "
                "are wanted; use it inside a function that returns a list"
            )
