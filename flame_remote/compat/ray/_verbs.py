"""get, put, wait, cancel, kill: Ray's checks of their arguments, before flame's own."""

from __future__ import annotations

from typing import Any, Final

import flame_remote as flame
from flame_remote import ObjectRef, ObjectRefGenerator

from ._starting import current_namespace
from .actor import ActorHandle

_WAITABLE: Final = (ObjectRef, ObjectRefGenerator)
_NO_LIST: Final = "wait() takes a list of refs, not"


def get(object_refs: Any, *, timeout: float | None = None, use_object_store: bool = False) -> Any:
    """Wait for results and return them; raise the first error as soon as it is known.

    Args:
        object_refs: one ref, or a list of refs. A generator of refs is returned as it is.
        timeout: seconds to wait at most; None, or less than 0, waits as long as it takes.
        use_object_store: has no effect.

    Raises:
        ValueError: `object_refs` is neither a ref nor a list.
        TypeError: something in the list is no ref.
        GetTimeoutError: the time is over.
        RayTaskError: a task raised; also an instance of the exception's own type.
    """
    if timeout is not None and timeout < 0:
        timeout = None
    if isinstance(object_refs, (ObjectRef, list)):
        return flame.get(object_refs, timeout=timeout)
    if isinstance(object_refs, ObjectRefGenerator):
        return object_refs
    raise ValueError(
        f"get() takes an ObjectRef or a list of them, not {type(object_refs).__name__}"
        + _hint(object_refs)
    )


def _hint(value: object) -> str:
    if isinstance(value, (tuple, set)):
        return ": pass list(...) of it"
    return ": get what .remote() returns" if callable(getattr(value, "remote", None)) else ""


def put(value: Any, *, _owner: object = None, _tensor_transport: str = "object_store") -> Any:
    """Store a value once, for many tasks; return its ref.

    Raises:
        TypeError: the value is a ref, or cannot travel.
        ObjectStoreFullError: there is no room.
    """
    return flame.put(value)


def wait(
    ray_waitables: Any,
    *,
    num_returns: int = 1,
    timeout: float | None = None,
    fetch_local: bool = True,
) -> tuple[list[Any], list[Any]]:
    """Wait until some results are there; return those that are, and the rest, in your order.

    Args:
        ray_waitables: a list of refs and generators of refs.
        num_returns: for how many to wait.
        timeout: seconds to wait at most; None waits as long as it takes.
        fetch_local: has no effect: values are on this machine.

    Raises:
        TypeError: `ray_waitables` is no list, or something in it is no ref.
        ValueError: a ref is there twice; `num_returns` or `timeout` is out of range.
    """
    if isinstance(ray_waitables, _WAITABLE):
        raise TypeError(f"{_NO_LIST} a single one: {ray_waitables!r}")
    if not isinstance(ray_waitables, list):
        raise TypeError(f"{_NO_LIST} {type(ray_waitables).__name__}")
    if timeout is not None and timeout < 0:
        raise ValueError(f"the timeout of wait() must be 0 or more seconds, not {timeout}")
    if not ray_waitables:
        return [], []
    return flame.wait(ray_waitables, num_returns=num_returns, timeout=timeout)


def cancel(ref: Any, *, force: bool = False, recursive: bool = True) -> None:
    """Cancel the call of a ref; getting it then raises TaskCancelledError.

    Args:
        ref: what `.remote()` returned, a generator too.
        force: end the process that runs it.
        recursive: cancel the calls that it has started, too.

    Raises:
        TypeError: `ref` is no ref.
    """
    if isinstance(ref, ObjectRefGenerator):
        ref.close()
        return
    if not isinstance(ref, ObjectRef):
        raise TypeError(
            f"cancel() takes what .remote() of a call returns, not {type(ref).__name__}; "
            "to end an actor, use kill()"
        )
    flame.cancel(ref, force=force, recursive=recursive)


def kill(actor: Any, *, no_restart: bool = True) -> None:
    """End an actor at once.

    Args:
        actor: its handle.
        no_restart: False has it constructed again, if it may be.

    Raises:
        ValueError: `actor` is no handle.
    """
    if not isinstance(actor, ActorHandle):
        hint = "; to end a call, use cancel()" if isinstance(actor, ObjectRef) else ""
        raise ValueError(f"kill() takes an actor's handle, not {type(actor).__name__}{hint}")
    flame.kill(actor._inner, no_restart=no_restart)


def get_actor(name: str, namespace: str | None = None) -> ActorHandle:
    """Return the handle of a named actor.

    Raises:
        ValueError: there is none of that name.
    """
    if not name:
        raise ValueError("get_actor() takes the name of an actor, not an empty one")
    return ActorHandle.of(flame.get_actor(name, namespace=namespace or current_namespace()))
