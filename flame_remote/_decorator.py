"""`@remote`: makes a function or a class remote."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, overload

from flame_remote._actor import ActorClass
from flame_remote._options import (
    ActorOptions,
    ActorOptionsDict,
    TaskOptions,
    TaskOptionsDict,
    changed,
    nearest,
)
from flame_remote._remote import RemoteFunction
from flame_remote._typed_actor import Actor
from flame_remote.exceptions import InvalidOptionError
from flame_remote.runner.source import Source

if TYPE_CHECKING:
    from typing_extensions import Unpack

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
A = TypeVar("A", bound=Actor)


class RemoteDecorator(Protocol):
    """What `remote(...)` with options returns: the decorator itself."""

    @overload
    def __call__(self, target: type[A], /) -> type[A]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, target: type[T], /) -> ActorClass[T]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, target: Callable[P, Coroutine[Any, Any, R]], /) -> RemoteFunction[P, R]: ...
    @overload
    def __call__(self, target: Callable[P, R], /) -> RemoteFunction[P, R]: ...


# Classes before functions, as a class is callable too; an Actor subclass before other classes.
@overload
def remote(  # type: ignore[overload-overlap]
    target: type[A], /, **options: Unpack[ActorOptionsDict]
) -> type[A]: ...
@overload
def remote(  # type: ignore[overload-overlap]
    target: type[T], /, **options: Unpack[ActorOptionsDict]
) -> ActorClass[T]: ...
@overload
def remote(
    target: Callable[P, Coroutine[Any, Any, R]], /, **options: Unpack[TaskOptionsDict]
) -> RemoteFunction[P, R]: ...
@overload
def remote(
    target: Callable[P, R], /, **options: Unpack[TaskOptionsDict]
) -> RemoteFunction[P, R]: ...
@overload
def remote(**options: Unpack[ActorOptionsDict]) -> RemoteDecorator: ...


def remote(*targets: Any, **options: Any) -> Any:
    """Make a function or class remote: `@remote`, `@remote(num_cpus=2)` or `remote(f)`.

    The result still is the function or class, and runs here when it is called; with `.remote(...)`
    it runs on a worker.

    Args:
        targets: the function or class; left out when only options are given.
        options: num_cpus, num_gpus, memory, resources, max_retries, name, runtime_env and more, see
            TaskOptions; and max_concurrency of classes.

    Returns:
        A RemoteFunction or an ActorClass; the class itself if it is a subclass of Actor; the
        decorator if only options were given.

    Raises:
        TypeError: the target is neither a function nor a class; an option is of the wrong type.
        InvalidOptionError: an option is unknown or out of range.
    """
    if len(targets) > 1:
        raise TypeError(f"remote() takes one function or class, not {len(targets)}")
    if targets:
        return _made_remote(targets[0], options)
    # A wrong name is reported on this line, before the target is known.
    known = ActorOptions.__dataclass_fields__ | TaskOptions.__dataclass_fields__
    for name in options:
        if name not in known:
            raise InvalidOptionError(
                f"remote() has no option {name!r}{nearest(name, known)}; "
                f"options: {', '.join(known)}"
            )
    return lambda target: _made_remote(target, options)


def _made_remote(target: Any, options: dict[str, Any]) -> Any:
    if isinstance(target, (RemoteFunction, ActorClass)):
        raise TypeError(f"{target.__name__} is remote already; other options: .options(...)")
    if isinstance(target, type):
        if issubclass(target, Actor):
            target._flame_set_options(options)
            return target
        what = f"the class {target.__name__}"
        return ActorClass(Source.of(target), changed(ActorOptions(), options, what))
    if isinstance(target, (staticmethod, classmethod)):
        raise TypeError(f"put @{type(target).__name__} above @flame.remote, not below")
    if not callable(target):
        raise TypeError(
            f"@flame.remote is for functions and classes, not {type(target).__name__}"
            + ("; options are named: remote(num_cpus=2)" if not options else "")
        )
    source = Source.of(target)
    return RemoteFunction(source, changed(TaskOptions(), options, f"the function {source.name}"))
