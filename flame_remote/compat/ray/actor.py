"""What the decorator makes of a class, and handles of its instances: Ray's `ray.actor`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

import flame_remote as flame

from ._ids import ActorID
from ._options import ACTOR, METHOD, translated
from ._starting import current_namespace

_METHOD_OPTIONS: Final = "__ray_method_options__"  # on a function, what @ray.method said
_SPECIAL: Final = {"__ray_ready__": "_ray_ready", "__ray_call__": "_ray_call"}


class ActorClassInheritanceException(TypeError):
    """A remote class was subclassed."""


class ActorClass:
    """A class whose instances live elsewhere: `C.remote(...)`. Constant after construction."""

    __name__: str

    def __init__(self, cls: type, options: Mapping[str, Any]) -> None:
        functools.update_wrapper(self, cls, updated=())
        self._options = dict(options)
        _give_special_methods(cls)
        what = f"the class {self.__name__}"
        made: Any = flame.remote(cls, **translated(options, ACTOR, what, {}))
        self._inner: flame.ActorClass[Any] = made
        self._methods = _method_options(cls)

    def remote(self, *args: Any, **kwargs: Any) -> ActorHandle:
        """Make an instance in a worker; return its handle at once."""
        inner: Any = self._inner
        namespace = current_namespace()
        if namespace and self._options.get("name") and not self._options.get("namespace"):
            inner = inner.options(namespace=namespace)
        return ActorHandle(inner.remote(*args, **kwargs), self._methods)

    def options(self, **options: Any) -> ActorClass:
        """Return the same class under other options.

        Raises:
            ValueError: an option is unknown, or cannot be had here.
        """
        what = f"the class {self.__name__}"
        inner = self._inner.options(**translated(options, ACTOR, what, self._options))
        new = ActorClass.__new__(ActorClass)
        new.__setstate__((self.__name__, {**self._options, **options}, inner, self._methods))
        new.__doc__ = self.__doc__
        return new

    def _remote(
        self, args: Any = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> ActorHandle:
        """As `options(...).remote(...)`: old programs use it."""
        return (self.options(**options) if options else self).remote(*args or (), **kwargs or {})

    def bind(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: there are no task graphs."""
        raise NotImplementedError("bind() makes a task graph, which flame does not have")

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(
            f"the remote class {self.__name__} cannot be called directly: use "
            f"{self.__name__}.remote(...) to make an instance"
        )

    def __mro_entries__(self, bases: tuple[Any, ...]) -> NoReturn:
        raise ActorClassInheritanceException(
            f"the remote class {self.__name__} cannot be subclassed: subclass the class without "
            "@ray.remote, and decorate the subclass"
        )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("_inner", "_methods", "_options"):
            raise AttributeError(name)  # an ordinary answer to who probes for hooks
        return getattr(self._inner, name)

    def __repr__(self) -> str:
        return f"<remote class {self.__name__}>"

    def __reduce__(self) -> tuple[Any, ...]:
        # A skeleton first and its contents later: the methods of a class may name the class.
        return _skeleton, (), (self.__name__, self._options, self._inner, self._methods)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.__name__, self._options, self._inner, self._methods = state


def _skeleton() -> ActorClass:
    return ActorClass.__new__(ActorClass)


class ActorHandle:
    """Stands for an instance in a worker: `handle.method.remote(...)`. Compared by instance."""

    # Beside these, methods that were used lie in __dict__.
    _inner: flame.ActorHandle[Any]
    _methods: Mapping[str, Mapping[str, Any]]

    def __init__(
        self, inner: flame.ActorHandle[Any], methods: Mapping[str, Mapping[str, Any]]
    ) -> None:
        self._inner = inner
        self._methods = methods

    @classmethod
    def of(cls, inner: flame.ActorHandle[Any]) -> ActorHandle:
        """Return the handle of an actor of which flame's own is known."""
        return cls(inner, {})

    @property
    def _actor_id(self) -> ActorID:
        return ActorID(bytes.fromhex(self._inner._flame_ref.hex()))

    _ray_actor_id = _actor_id

    def __getattr__(self, name: str) -> Any:
        if name == "_inner":
            raise AttributeError(name)
        if name == "__ray_terminate__":
            return _Terminate(self)
        if name not in _SPECIAL and name.startswith("__"):
            raise AttributeError(name)  # an ordinary answer to who probes for hooks
        inner = getattr(self._inner, _SPECIAL.get(name, name))
        method = ActorMethod(inner, self._methods.get(name, {}))
        self.__dict__[name] = method
        return method

    def __dir__(self) -> list[str]:
        return [name for name in dir(self._inner) if not name.startswith("_ray_")]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ActorHandle):
            return self._inner == other._inner
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self._inner)

    def __repr__(self) -> str:
        return repr(self._inner)

    def __reduce__(self) -> tuple[Any, ...]:
        return ActorHandle, (self._inner, self._methods)


class ActorMethod:
    """A method of an instance in a worker. Constant after construction."""

    def __init__(self, inner: Any, options: Mapping[str, Any]) -> None:
        self._options = options
        self.__name__ = inner.__name__
        changes = translated(options, METHOD, f"the method {inner.__qualname__}", {})
        self._inner = inner.options(**changes) if changes else inner
        self.remote: Callable[..., Any] = self._inner.remote

    def options(self, **options: Any) -> ActorMethod:
        """Return the same method under other options.

        Raises:
            ValueError: an option is unknown, or cannot be had here.
        """
        return ActorMethod(self._inner, {**self._options, **options})

    def _remote(
        self, args: Any = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        """As `options(...).remote(...)`: old programs use it."""
        return (self.options(**options) if options else self).remote(*args or (), **kwargs or {})

    def bind(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: there are no task graphs."""
        raise NotImplementedError("bind() makes a task graph, which flame does not have")

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(
            f"the method {self.__name__}() cannot be called directly: use "
            f"handle.{self.__name__}.remote(...)"
        )

    def __repr__(self) -> str:
        return repr(self._inner)

    def __reduce__(self) -> tuple[Any, ...]:
        return ActorMethod, (self._inner, self._options)


class _Terminate:
    """`handle.__ray_terminate__`: ends the instance once the calls before it have ended."""

    def __init__(self, handle: ActorHandle) -> None:
        self._handle = handle

    def remote(self) -> None:
        """End the instance."""
        flame.get(self._handle.__ray_ready__.remote())  # calls run in order
        flame.kill(self._handle._inner)


# --- of a class -----------------------------------------------------------------------------------


def method(*targets: Any, **options: Any) -> Any:
    """Set options of a method: `@ray.method(num_returns=2)`. Bare, it sets none.

    Raises:
        AssertionError: an option is unknown.
    """
    if len(targets) == 1 and not options and callable(targets[0]):
        return targets[0]
    for name in options:
        if name not in METHOD:
            raise AssertionError(
                f"ray.method() has no option {name!r}; options: {', '.join(METHOD)}"
            )
    if targets or not options:
        raise AssertionError("options of ray.method() are named: @ray.method(num_returns=2)")

    def mark(function: Any) -> Any:
        setattr(function, _METHOD_OPTIONS, options)
        if given := translated(options, METHOD, f"the method {function.__name__}", {}):
            flame.method(**given)(function)  # for handles that get_actor() finds
        return function

    return mark


def exit_actor() -> NoReturn:
    """End the actor whose method calls this, on purpose.

    Raises:
        TypeError: not called in a method of an actor.
    """
    try:
        flame.exit_actor()
    except flame.EngineError as error:  # no actor is running here
        raise TypeError(str(error)) from None


def _method_options(cls: type) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for name, value in inspect.getmembers(cls, callable):
        if options := getattr(value, _METHOD_OPTIONS, None):
            found[name] = options
    return found


def _give_special_methods(cls: type) -> None:
    """Give a class what handles have beside its own methods."""

    def ready(self: object) -> bool:
        return True

    def call(self: object, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return function(self, *args, **kwargs)

    setattr(cls, _SPECIAL["__ray_ready__"], ready)
    setattr(cls, _SPECIAL["__ray_call__"], call)
