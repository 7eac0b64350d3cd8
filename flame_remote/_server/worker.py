"""Runs functions, classes and instances for Runners: does what flamepy's worker does.

Used where flamepy is not installed. The bytes are the same: the session's common data is a ref to a
pickled RunnerContext, a task's input is a pickled RunnerRequest, its output a ref to the result.
"""

from __future__ import annotations

import inspect
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import cloudpickle

from flame_remote._proto import shim_pb2
from flame_remote.core import objects
from flame_remote.core.object_ref import ObjectRef
from flame_remote.exceptions import ClusterError

from . import aliases
from .aliases import RunnerContext, RunnerRequest
from .service import serve

# Read by what clients of this package have us execute: an Answer stands in the output itself.
TAKES_ANSWERS: Final = True

_PARALLEL: Final = 8  # refs that are fetched at once


class RunnerService:
    """One session's target, and the calls of it."""

    def __init__(self) -> None:
        self._prefix = ""  # of the keys of results
        self._context_ref: ObjectRef | None = None
        self._context: RunnerContext | None = None
        self._target: Any = None

    def enter(self, context: shim_pb2.SessionContext) -> None:
        """Fetch the target, and build it if it is a class."""
        if not context.HasField("common_data"):
            raise ValueError(
                "the session has no common data: a session of this application is made by a "
                "Runner, which puts the function or class there"
            )
        self._prefix = f"{context.application.name}/{context.session_id}"
        self._context_ref = ObjectRef.decode(context.common_data)
        self._load()

    def invoke(self, task_input: bytes | None) -> bytes | None:
        """Make one call; return where its result is."""
        if task_input is None:
            raise ValueError("the task has no input")
        assert self._context is not None
        if self._context.stateful:
            self._load()  # another instance may have changed it
        request = cloudpickle.loads(task_input)
        if not isinstance(request, RunnerRequest):
            raise ValueError(f"the task's input is a {type(request).__name__}, no RunnerRequest")
        args, kwargs = _resolved(tuple(request.args or ()), dict(request.kwargs or {}))
        result = self._callable(request.method)(*args, **kwargs)
        if self._context.stateful:
            self._save()
        if type(result).__name__ == "Answer" and hasattr(result, "encode"):
            return bytes(result.encode())  # that of a client which wants no object for it
        return objects.put_object(self._prefix, result).encode()

    def leave(self) -> None:
        """Let go of the target."""
        self._target = self._context = None

    def _load(self) -> None:
        assert self._context_ref is not None
        # Always the newest: a ref with version 0 is never answered from memory.
        ref = ObjectRef(self._context_ref.endpoint, self._context_ref.key, 0)
        context = cloudpickle.loads(objects.get_object(ref))
        if not isinstance(context, RunnerContext):
            raise ValueError(f"the common data is a {type(context).__name__}, no RunnerContext")
        target = context.execution_object
        if target is None:
            raise ValueError("there is nothing to run: the execution object is None")
        self._context = context
        self._target = target() if inspect.isclass(target) else target

    def _save(self) -> None:
        assert self._context is not None
        assert self._context_ref is not None
        self._context.execution_object = self._target
        objects.update_object(self._context_ref, cloudpickle.dumps(self._context))

    def _callable(self, method: str | None) -> Any:
        if method is None:
            if not callable(self._target):
                raise ValueError(f"{type(self._target).__name__} object cannot be called")
            return self._target
        function = getattr(self._target, method, None)
        if not callable(function):
            raise ValueError(f"{type(self._target).__name__} object has no method {method!r}")
        return function


def _resolved(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments with the objects in place of refs, at top level only."""
    values = [*args, *kwargs.values()]
    refs = {index: ref for index, value in enumerate(values) if (ref := _ref_in(value))}
    if not refs:
        return args, kwargs
    if len(refs) == 1:
        fetched = [objects.get_object(ref) for ref in refs.values()]
    else:
        with ThreadPoolExecutor(min(len(refs), _PARALLEL)) as pool:
            fetched = list(pool.map(objects.get_object, refs.values()))
    for index, value in zip(refs, fetched, strict=True):
        values[index] = value
    return tuple(values[: len(args)]), dict(zip(kwargs, values[len(args) :], strict=True))


def _ref_in(value: Any) -> ObjectRef | None:
    """Return the ref that an argument is, also as bytes, in which some clients send it."""
    if isinstance(value, ObjectRef):
        return value
    if isinstance(value, aliases.ObjectRef):
        return aliases.to_core(value)
    if isinstance(value, bytes):
        try:
            return ObjectRef.decode(value)
        except ClusterError:
            return None
    return None


def main() -> None:
    """Serve one session."""
    aliases.install()
    serve(RunnerService())


if __name__ == "__main__":
    main()
