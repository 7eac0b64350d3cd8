"""What the decorator makes of a function."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NoReturn

import flame_remote as flame

from ._options import TASK, translated

_NO_GRAPHS: Final = "bind() makes a task graph, which flame does not have: call .remote()"


class RemoteFunction:
    """A function that runs elsewhere: `f.remote(...)`. Constant after construction."""

    __name__: str

    def __init__(
        self,
        function: Callable[..., Any],
        options: Mapping[str, Any],
        inner: flame.RemoteFunction[..., Any] | None = None,
    ) -> None:
        functools.update_wrapper(self, function)
        self._options = dict(options)
        what = f"the function {self.__name__}"
        if options.get("num_returns") == "streaming" and not _makes_items(function):
            raise ValueError(f"{what} cannot have num_returns='streaming': it is no generator")
        if inner is None:
            options = dict(options)
            if options.get("num_returns") == "dynamic":
                _warn_of_dynamic()
                function = dynamic(function)
                del options["num_returns"]
            inner = flame.remote(function, **translated(options, TASK, what, {}))
        self._inner = inner

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        """Start a call; return its ref, a list of refs, a generator of refs, or None."""
        return self._inner.remote(*args, **kwargs)

    def options(self, **options: Any) -> RemoteFunction:
        """Return the same function under other options.

        Raises:
            ValueError: an option is unknown, or cannot be had here.
        """
        if "max_calls" in options:
            raise ValueError("max_calls cannot be set in .options(): set it in @ray.remote(...)")
        new = {**self._options, **options}
        if "dynamic" in (options.get("num_returns"), self._options.get("num_returns")):
            return RemoteFunction(self.__wrapped__, new)
        what = f"the function {self.__name__}"
        inner = self._inner.options(**translated(options, TASK, what, self._options))
        return RemoteFunction(self.__wrapped__, new, inner)

    def _remote(
        self, args: Any = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        """As `options(...).remote(...)`: old programs use it."""
        return (self.options(**options) if options else self).remote(*args or (), **kwargs or {})

    def bind(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: there are no task graphs."""
        raise NotImplementedError(_NO_GRAPHS)

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(
            f"the remote function {self.__name__}() cannot be called directly: use "
            f"{self.__name__}.remote(...), or {self.__name__}.__wrapped__(...) to run it here"
        )

    def __repr__(self) -> str:
        return f"<remote function {self.__name__}>"

    def __reduce__(self) -> tuple[Any, ...]:
        # A skeleton first and its contents later: a recursive function contains itself.
        about = {"__name__": self.__name__, "__doc__": self.__doc__}
        return _skeleton, (), (about, self._options, self._inner)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        about, self._options, self._inner = state
        vars(self).update(about)

    def __getattr__(self, name: str) -> Any:
        if name == "__wrapped__" and "_inner" in vars(self):  # after a journey
            function = self._inner.__wrapped__
            return function.function if isinstance(function, _Dynamic) else function
        raise AttributeError(name)


def _skeleton() -> RemoteFunction:
    return RemoteFunction.__new__(RemoteFunction)


def _makes_items(function: Callable[..., Any]) -> bool:
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


# --- num_returns="dynamic" ------------------------------------------------------------------------


class DynamicObjectRefGenerator:
    """The refs of what a call with num_returns="dynamic" has yielded. Can be iterated often."""

    def __init__(self, refs: list[flame.ObjectRef[Any]]) -> None:
        self._refs = refs

    def __iter__(self) -> Iterator[flame.ObjectRef[Any]]:
        return iter(self._refs)

    def __len__(self) -> int:
        return len(self._refs)


class _Dynamic:
    """Calls a generator function and stores each item."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        functools.update_wrapper(self, function)

    def __call__(self, *args: Any, **kwargs: Any) -> DynamicObjectRefGenerator:
        return DynamicObjectRefGenerator([flame.put(it) for it in self.function(*args, **kwargs)])


def dynamic(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what runs in place of a generator function whose items come all at once."""
    return _Dynamic(function)


def _warn_of_dynamic() -> None:
    warnings.warn(
        "num_returns='dynamic' is deprecated in Ray: leave it out, and items come as they are made",
        DeprecationWarning,
        stacklevel=4,
    )
