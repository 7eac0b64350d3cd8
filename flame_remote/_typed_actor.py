"""`flame.Actor` and `@flame.method`: remote classes as type checkers can follow them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Concatenate,
    Generic,
    ParamSpec,
    Protocol,
    TypeVar,
    overload,
)

from flame_remote._actor import ActorClass
from flame_remote._options import (
    ActorOptions,
    ActorOptionsDict,
    MethodOptions,
    MethodOptionsDict,
    changed,
)
from flame_remote._refs import ObjectRef
from flame_remote.runner.source import Source

if TYPE_CHECKING:
    from typing_extensions import Unpack

P = ParamSpec("P")
S = TypeVar("S")
S_contra = TypeVar("S_contra", contravariant=True)
C_co = TypeVar("C_co", covariant=True)
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Actor:
    """Base for classes whose instances can live in a worker, as type checkers can follow it.

    `class C(flame.Actor, num_cpus=1)` has what `@flame.remote(num_cpus=1) class C` has, and stays a
    class, so that it can be subclassed. To a type checker `C.remote(...)` returns a C, and methods
    marked with `@flame.method` have `.remote(...)`.
    """

    _flame_options: ClassVar[ActorOptions] = ActorOptions()
    _flame_made: ClassVar[ActorClass[Any] | None] = None  # of this very class, never of a base

    def __init_subclass__(cls, **options: Unpack[ActorOptionsDict]) -> None:
        super().__init_subclass__()
        cls._flame_set_options(options)

    if TYPE_CHECKING:

        @classmethod
        def remote(cls: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
            """Make an instance in a worker; see ActorClass.remote."""
            raise NotImplementedError

        @classmethod
        def options(
            cls: Callable[P, T], **options: Unpack[ActorOptionsDict]
        ) -> TypedActorClass[P, T]:
            """Return the class under other options; see ActorClass.options."""
            raise NotImplementedError

    else:

        @classmethod
        def remote(cls, /, *args, **kwargs):
            """Make an instance in a worker; see ActorClass.remote."""
            return cls._flame_actor_class().remote(*args, **kwargs)

        @classmethod
        def options(cls, **options):
            """Return the class under other options; see ActorClass.options."""
            return cls._flame_actor_class().options(**options)

    @classmethod
    def _flame_set_options(cls, options: Mapping[str, Any]) -> None:
        cls._flame_options = changed(cls._flame_options, options, f"the class {cls.__name__}")
        cls._flame_made = None

    @classmethod
    def _flame_actor_class(cls) -> ActorClass[Any]:
        made = cls._flame_made
        if made is None:
            if cls is Actor:
                raise TypeError("flame.Actor is a base for classes of your own: subclass it")
            # Two threads may both make one; either serves.
            made = cls._flame_made = ActorClass(Source.of(cls), cls._flame_options)
        return made


if TYPE_CHECKING:

    class TypedActorClass(Generic[P, T_co]):
        """What `C.options(...)` of an Actor subclass returns, to a type checker."""

        def remote(self, *args: P.args, **kwargs: P.kwargs) -> T_co:
            """Make an instance in a worker; see ActorClass.remote."""
            raise NotImplementedError

    class TypedMethod(Generic[S_contra, P, C_co, R_co]):
        """What `@flame.method` makes of a method, to a type checker."""

        @overload
        def __get__(
            self, instance: None, owner: Any
        ) -> Callable[Concatenate[S_contra, P], C_co]: ...
        @overload
        def __get__(self, instance: S_contra, owner: Any) -> TypedBoundMethod[P, C_co, R_co]: ...
        def __get__(self, instance: Any, owner: Any) -> Any: ...

    class MethodDecorator(Protocol):
        """What `@flame.method(...)` with options is, to a type checker."""

        @overload
        def __call__(
            self, function: Callable[Concatenate[S, P], Coroutine[Any, Any, R]], /
        ) -> TypedMethod[S, P, Coroutine[Any, Any, R], R]: ...
        @overload
        def __call__(
            self, function: Callable[Concatenate[S, P], R], /
        ) -> TypedMethod[S, P, R, R]: ...

    class TypedBoundMethod(Generic[P, C_co, R_co]):
        """A method of an instance that may be here or in a worker, to a type checker."""

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> C_co:
            """Call the method of an instance that is here; a handle refuses."""
            raise NotImplementedError

        @overload
        def remote(self, *args: P.args, **kwargs: P.kwargs) -> ObjectRef[R_co]: ...
        @overload
        def remote(self, a: ObjectRef[Any], /, *args: Any, **kwargs: Any) -> ObjectRef[R_co]: ...
        @overload
        def remote(
            self, a: Any, b: ObjectRef[Any], /, *args: Any, **kwargs: Any
        ) -> ObjectRef[R_co]: ...
        def remote(self, *args: Any, **kwargs: Any) -> Any:
            """Start a call in the instance's worker; see ActorMethod.remote."""

        def options(self, **options: Unpack[MethodOptionsDict]) -> TypedBoundMethod[P, C_co, R_co]:
            """Return the same method under other options; see ActorMethod.options."""
            raise NotImplementedError


@overload
def method(
    function: Callable[Concatenate[S, P], Coroutine[Any, Any, R]], /
) -> TypedMethod[S, P, Coroutine[Any, Any, R], R]: ...
@overload
def method(function: Callable[Concatenate[S, P], R], /) -> TypedMethod[S, P, R, R]: ...
@overload
def method(**options: Unpack[MethodOptionsDict]) -> MethodDecorator: ...


def method(*functions: Any, **options: Any) -> Any:
    """Give a method of a remote class options: `@flame.method(concurrency_group="io")`.

    On a method of an Actor subclass, with or without options, it also tells type checkers of its
    `.remote(...)`. `handle.method.options(...)` goes before what is said here.

    Args:
        functions: the method; left out when options are given. It stays as it is: every method can
            be called remotely, marked or not.
        options: see MethodOptions.

    Raises:
        TypeError: it is no function, or an option is of the wrong type.
        InvalidOptionError: an option is unknown or out of range.
    """
    if len(functions) > 1 or bool(functions) == bool(options):
        raise TypeError("use @flame.method, or @flame.method(...) with options by name")
    if functions:
        return _marked(functions[0], None)
    new = changed(MethodOptions(), options, "@flame.method")
    return lambda function: _marked(function, new)


def _marked(function: Any, options: MethodOptions | None) -> Any:
    if isinstance(function, (staticmethod, classmethod)):
        _marked(function.__func__, options)
    elif not callable(function):
        raise TypeError(f"@flame.method is for methods, not {type(function).__name__}")
    elif options is not None:
        vars(function)["_flame_method_options"] = options
    return function
