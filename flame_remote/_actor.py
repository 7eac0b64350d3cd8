"""Classes whose instances live in a worker: what the decorator makes of them, handles, methods."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Concatenate,
    Final,
    Generic,
    NoReturn,
    ParamSpec,
    TypeVar,
    cast,
    overload,
)

from flame_remote import _current
from flame_remote._api import ensure_engine, seen_from_here
from flame_remote._current import require_usable
from flame_remote._ids import show
from flame_remote._options import (
    CONCURRENCY_OF_ASYNC_ACTORS,
    ActorOptions,
    ActorOptionsDict,
    MethodOptions,
    MethodOptionsDict,
    changed,
    nearest,
)
from flame_remote._refs import ObjectRef
from flame_remote._registry import service_of
from flame_remote._signature import CallSignature, anything, misfit
from flame_remote.exceptions import FlameError
from flame_remote.runner.service import MethodService
from flame_remote.runner.source import Source, by_name

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


# --- what is known about a class ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MethodFacts:
    """What a handle needs to know about a method; plain data, so that handles pickle fast."""

    doc: str | None
    signature: CallSignature | None


@dataclass(frozen=True, slots=True)
class ActorFacts:
    """What a handle needs to know about its class."""

    name: str
    doc: str | None
    methods: dict[str, MethodFacts]
    has_async_methods: bool

    @classmethod
    def of(cls, actor: type) -> ActorFacts:
        """Look at every method that an instance of `actor` has, but for special ones."""
        methods: dict[str, MethodFacts] = {}
        has_async = False
        for name in dir(actor):
            is_special = name.startswith("__") and name.endswith("__")
            if is_special or hasattr(Actor, name):
                continue
            raw = inspect.getattr_static(actor, name)
            value = getattr(actor, name, None)
            if not callable(value) or isinstance(raw, (property, type)):
                continue
            bound = not isinstance(raw, (staticmethod, classmethod))
            methods[name] = MethodFacts(inspect.getdoc(value), CallSignature.of(value, bound=bound))
            has_async = has_async or inspect.iscoroutinefunction(value)
        return cls(actor.__name__, actor.__doc__, methods, has_async)


# --- the class ------------------------------------------------------------------------------------


class ActorClass(Generic[T_co]):
    """A class whose instances can live elsewhere: `C.remote(...)` makes one there, `C(...)` here.

    Constant after construction. Safe to use from any thread.
    """

    __name__: str
    __qualname__: str
    __wrapped__: type[T_co]
    _flame_instead_of_ref: Final = (
        "the remote class {name}: get what a method of a handle returns, "
        "e.g. {name}.remote().method.remote()"
    )

    def __init__(self, source: Source, options: ActorOptions) -> None:
        functools.update_wrapper(self, source.value, updated=())
        self._set_up(source, options, ActorFacts.of(cast(type, source.value)))

    def _set_up(self, source: Source, options: ActorOptions, facts: ActorFacts) -> None:
        self._source = source
        self._options = options
        self._facts = facts
        signature = source.signature
        self._check = anything if signature is None else signature.stand_in(source.name)

    def __call__(self, *args: Any, **kwargs: Any) -> T_co:
        """Make an ordinary instance here, in this process."""
        return cast(T_co, self._source.value(*args, **kwargs))

    local = __call__

    def remote(self, /, *args: Any, **kwargs: Any) -> ActorHandle[T_co]:
        """Make an instance in a worker; return at once, with a handle for calling its methods.

        The instance lives as long as a handle of it does. An error of the constructor is raised by
        the first call that is got.

        Args:
            args: the constructor's positional arguments; a ref stands for its value.
            kwargs: the constructor's keyword arguments; a ref stands for its value.

        Raises:
            TypeError: the arguments do not fit the constructor's signature.
            SerializationError: an argument, or something the class uses, cannot travel.
            UnschedulableError: the engine can never meet the class's options.
        """
        try:
            self._check(*args, **kwargs)
        except TypeError as error:
            raise misfit(error, self._source.name, self._source.signature) from None
        try:
            service = service_of(ensure_engine(), self._source, self._final_options())
            return ActorHandle(service.submit(args, kwargs), self._facts, self._options.name)
        except FlameError as error:
            raise seen_from_here(error)  # noqa: B904  the same error

    def options(self, **options: Unpack[ActorOptionsDict]) -> ActorClass[T_co]:
        """Return the same class under other options; this one stays as it is.

        Args:
            options: see ActorOptions; those not given stay.

        Raises:
            InvalidOptionError: an option is unknown or out of range.
            TypeError: an option is of the wrong type.
        """
        new = ActorClass.__new__(ActorClass)
        functools.update_wrapper(new, self._source.value, updated=())
        what = f"the class {self._source.name}"
        new._set_up(self._source, changed(self._options, options, what), self._facts)
        return new

    def _final_options(self) -> ActorOptions:
        """Return the options with what the class decides filled in."""
        if self._options.max_concurrency:
            return self._options
        most = CONCURRENCY_OF_ASYNC_ACTORS if self._facts.has_async_methods else 1
        return replace(self._options, max_concurrency=most)

    # --- still a class, for code that uses it as one ---

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_source":  # an ordinary answer to who probes for hooks
            raise AttributeError(name)
        return getattr(self._source.value, name)

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, cast(type, self._source.value))

    def __mro_entries__(self, bases: tuple[Any, ...]) -> NoReturn:
        name = self._source.name
        raise TypeError(
            f"{name} is a remote class and cannot be subclassed: "
            f"subclass the undecorated class, {name}.__wrapped__, and decorate the subclass"
        )

    def __repr__(self) -> str:
        return f"<remote class {self._source.name}>"

    def __reduce__(self) -> tuple[Any, ...]:
        if (name := by_name(self)) is not None:
            return name.__reduce__()
        # A skeleton first and its contents later: the methods of a class may name the class.
        value = self._source.value
        about = {
            "__module__": value.__module__,
            "__qualname__": value.__qualname__,
            "__doc__": value.__doc__,
        }
        return (
            _skeleton,
            (),
            (
                by_name(value) or value,
                self._source.name,
                about,
                self._options,
                self._source.signature,
                self._facts,
            ),
        )

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        value, name, about, options, signature, facts = state
        vars(self).update(about, __name__=name, __wrapped__=value)
        self._set_up(Source(value, name, signature), options, facts)


def _skeleton() -> ActorClass[Any]:
    return ActorClass.__new__(ActorClass)


# --- the handle -----------------------------------------------------------------------------------


class ActorHandle(Generic[T_co]):
    """Stands for an instance in a worker: `handle.method.remote(...)` calls it there.

    The calls of one caller run in the order they were made. The instance lives as long as a handle
    does, in any process; a handle can be passed to tasks and kept in objects. Compared by instance.
    """

    _flame_instead_of_ref: Final = (
        "the handle of an actor: get what one of its methods returns, handle.method.remote(...)"
    )

    # Beside these, methods that were used lie in __dict__, where the next use finds them at once.
    # They hold the ref and not the handle: a cycle would keep the instance alive.
    _flame_ref: ObjectRef[Any]
    _flame_facts: ActorFacts
    _flame_label: str

    def __init__(self, ref: ObjectRef[Any], facts: ActorFacts, label: str = "") -> None:
        self._flame_ref = ref
        self._flame_facts = facts
        self._flame_label = label
        self.__doc__ = facts.doc

    def __del__(self) -> None:
        ref = self.__dict__.get("_flame_ref")
        if ref is not None:
            ref._engine.handle_died()

    def __getattr__(self, name: str) -> ActorMethod[..., Any]:
        facts: ActorFacts | None = self.__dict__.get("_flame_facts")
        method = None if facts is None else facts.methods.get(name)
        if facts is None or method is None:
            if facts is None or (name.startswith("__") and name.endswith("__")):
                raise AttributeError(name)  # an ordinary answer to who probes for hooks
            public = [known for known in facts.methods if not known.startswith("_")]
            raise AttributeError(
                f"{facts.name} has no remote method {name!r}{nearest(name, public)}; "
                f"methods: {', '.join(public) or 'none'}"
            )
        made: ActorMethod[..., Any] = ActorMethod(
            self._flame_ref, self._flame_label or facts.name, name, method, MethodOptions()
        )
        self.__dict__[name] = made
        return made

    def __dir__(self) -> list[str]:
        return sorted({*dir(object), *self._flame_facts.methods})

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(f"{self!r} is the handle of an instance: use handle.method.remote(...)")

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ActorHandle):
            return self._flame_ref == other._flame_ref
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self._flame_ref)

    def __repr__(self) -> str:
        return f"<actor {self._flame_label or self._flame_facts.name} {show(self._flame_ref._id)}>"

    def __copy__(self) -> ActorHandle[T_co]:
        return self

    def __deepcopy__(self, memo: object) -> ActorHandle[T_co]:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return ActorHandle, (self._flame_ref, self._flame_facts, self._flame_label)


class ActorMethod(Generic[P, R_co]):
    """A method of an instance in a worker. Constant after construction."""

    _flame_instead_of_ref: Final = (
        "the method {name} of an actor: get what {name}.remote(...) returns"
    )

    def __init__(
        self,
        instance: ObjectRef[Any],
        actor_name: str,
        name: str,
        facts: MethodFacts,
        options: MethodOptions,
    ) -> None:
        self.__name__ = name
        self.__qualname__ = f"{actor_name}.{name}"
        self.__doc__ = facts.doc
        self._instance = instance
        self._actor_name = actor_name
        self._facts = facts
        self._options = options
        signature = facts.signature
        self._check = anything if signature is None else signature.stand_in(self.__qualname__)
        self._service = MethodService(instance, actor_name, name, signature, options)

    def remote(self, /, *args: P.args, **kwargs: P.kwargs) -> ObjectRef[R_co]:
        """Start a call of the method in the instance's worker; return at once, with a ref.

        Args:
            args: the method's positional arguments; a ref stands for its value.
            kwargs: the method's keyword arguments; a ref stands for its value.

        Raises:
            TypeError: the arguments do not fit the method's signature.
            SerializationError: an argument cannot travel.
            SessionEndedError: the instance belongs to a session that has ended.
        """
        try:
            self._check(*args, **kwargs)
        except TypeError as error:
            raise misfit(error, self.__qualname__, self._facts.signature) from None
        try:
            service = self._service
            if service.engine is not _current.engine:
                require_usable(service.engine, f"the actor {self._actor_name}")
            return service.submit(args, kwargs)
        except FlameError as error:
            raise seen_from_here(error)  # noqa: B904  the same error

    def options(self, **options: Unpack[MethodOptionsDict]) -> ActorMethod[P, R_co]:
        """Return the same method under other options.

        Args:
            options: see MethodOptions; those not given stay.

        Raises:
            InvalidOptionError: an option is unknown or out of range.
            TypeError: an option is of the wrong type.
        """
        new = changed(self._options, options, f"the method {self.__qualname__}")
        return ActorMethod(self._instance, self._actor_name, self.__name__, self._facts, new)

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(
            f"{self.__qualname__} runs in another process: "
            f"use handle.{self.__name__}.remote(...) and flame.get() what it returns"
        )

    def __repr__(self) -> str:
        return f"<remote method {self.__qualname__}>"

    def __reduce__(self) -> tuple[Any, ...]:
        name = self.__name__
        return ActorMethod, (self._instance, self._actor_name, name, self._facts, self._options)


# --- typed actors ---------------------------------------------------------------------------------


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


def method(function: Any, /) -> Any:
    """Mark a method of an Actor subclass, so that type checkers know its `.remote(...)`.

    Args:
        function: the method. It stays as it is: every method can be called remotely, marked or not.

    Raises:
        TypeError: `function` is no function.
    """
    if not callable(function):
        raise TypeError(f"@flame.method is for methods, not {type(function).__name__}")
    return function
