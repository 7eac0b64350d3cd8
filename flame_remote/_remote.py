"""What the decorator makes of a function."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Final, Generic, ParamSpec, TypeVar, overload

from flame_remote import _current
from flame_remote._execute.producing import makes_items
from flame_remote._options import TaskOptions, TaskOptionsDict, changed
from flame_remote._own_frames import seen_from_here
from flame_remote._refs import ObjectRef
from flame_remote._registry import service_of
from flame_remote._session import ensure_engine
from flame_remote._signature import anything, misfit
from flame_remote.exceptions import FlameError, InvalidOptionError
from flame_remote.runner.service import Service
from flame_remote.runner.source import Source, by_name

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from flame_remote._cached_calls import CachedCalls
    from flame_remote._map import MapResults
    from flame_remote._mapped_calls import MappedCalls
    from flame_remote._streamed_calls import StreamedCalls

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")


class RemoteFunction(Generic[P, R_co]):
    """A function that can run elsewhere: `f.remote(...)` runs it on a worker, `f(...)` here.

    Constant after construction, but for the service that it remembers. Safe to use from any thread.
    """

    __name__: str
    __qualname__: str
    __wrapped__: Callable[P, Any]
    _flame_instead_of_ref: Final = "the remote function {name}: get what {name}.remote(...) returns"

    def __init__(self, source: Source, options: TaskOptions) -> None:
        functools.update_wrapper(self, source.value)
        self._set_up(source, options)

    def _set_up(self, source: Source, options: TaskOptions) -> None:
        self._source = source
        self._options = options
        signature = source.signature
        self._check = anything if signature is None else signature.stand_in(source.name)
        # The service of the last call, while its engine has it. Weak: the registry owns services.
        self._service: Callable[[], Service | None] = _no_service
        self._is_stream = makes_items(source.value) and options.num_returns == 1
        self._calls = self._special_calls()
        self._many: MappedCalls | None = None  # made by the first map

    def _special_calls(self) -> CachedCalls | StreamedCalls | None:
        """Return what takes the calls in place of a service, where an ordinary call will not do."""
        source, options = self._source, self._options
        if self._is_stream:
            from flame_remote._streamed_calls import StreamedCalls  # few functions are generators

            return StreamedCalls(source, options)
        if options.backpressure is not None:
            raise InvalidOptionError(
                f"the function {source.name} cannot have backpressure: that is for generator "
                "functions whose items come one by one"
            )
        if options.cache is None:
            return None
        from flame_remote._cached_calls import CachedCalls  # few functions have a cache

        return CachedCalls(source, options, options.cache)

    if TYPE_CHECKING:

        @overload
        def __call__(
            self: RemoteFunction[P, Coroutine[Any, Any, R]], *args: P.args, **kwargs: P.kwargs
        ) -> Coroutine[Any, Any, R]: ...
        @overload
        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function here, in this thread; a TypeError for wrong arguments is its own."""
        return self._source.value(*args, **kwargs)

    if TYPE_CHECKING:
        # The exact signature first, so that editors show it. A ref may stand for any of the first
        # four positional arguments, whose types are then not checked; by keyword, ref.proxy() does.
        @overload
        def remote(self, /, *args: P.args, **kwargs: P.kwargs) -> ObjectRef[R_co]: ...
        @overload
        def remote(self, a: ObjectRef[Any], /, *args: Any, **kwargs: Any) -> ObjectRef[R_co]: ...
        @overload
        def remote(
            self, a: Any, b: ObjectRef[Any], /, *args: Any, **kwargs: Any
        ) -> ObjectRef[R_co]: ...
        @overload
        def remote(
            self, a: Any, b: Any, c: ObjectRef[Any], /, *args: Any, **kwargs: Any
        ) -> ObjectRef[R_co]: ...
        @overload
        def remote(
            self, a: Any, b: Any, c: Any, d: ObjectRef[Any], /, *args: Any, **kwargs: Any
        ) -> ObjectRef[R_co]: ...

    def remote(self, /, *args: Any, **kwargs: Any) -> Any:
        """Start a call on a worker and return at once, with the ref of what it will return.

        Of a generator function that is an ObjectRefGenerator: the refs of its items.

        Args:
            args: the function's positional arguments; a ref stands for its value.
            kwargs: the function's keyword arguments; a ref stands for its value.

        Raises:
            TypeError: the arguments do not fit the function's signature.
            SerializationError: an argument, or something the function uses, cannot travel.
            UnschedulableError: the engine can never meet the function's options.
        """
        try:
            self._check(*args, **kwargs)
        except TypeError as error:
            raise misfit(error, self._source.name, self._source.signature) from None
        try:
            if self._calls is not None:
                return self._calls.submit(args, kwargs)
            service = self._service()
            if service is None or service.engine is not _current.engine:
                service = service_of(ensure_engine(), self._source, self._options)
                self._service = weakref.ref(service)
            return service.submit(args, kwargs)
        except (FlameError, KeyboardInterrupt) as error:  # Ctrl-C on the inline engine
            raise seen_from_here(error)  # noqa: B904  the same error

    def local(self, /, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the function here, in this thread: the same as calling it, said aloud."""
        return self(*args, **kwargs)

    def options(self, **options: Unpack[TaskOptionsDict]) -> RemoteFunction[P, R_co]:
        """Return the same function under other options; this one stays as it is.

        Args:
            options: see TaskOptions; those not given stay.

        Raises:
            InvalidOptionError: an option is unknown or out of range.
            TypeError: an option is of the wrong type.
        """
        new = changed(self._options, options, f"the function {self._source.name}")
        return RemoteFunction(self._source, new)

    def cache_clear(self) -> None:
        """Throw away all results of the function that its cache keeps, for all its options.

        Raises:
            TypeError: the function has no cache: see the option `cache`.
        """
        from flame_remote._cached_calls import CachedCalls

        if not isinstance(self._calls, CachedCalls):
            raise TypeError(f"{self.__name__} has no cache: use @flame.remote(cache=True)")
        self._calls.clear()

    # --- many calls ---

    def map(
        self,
        *iterables: Iterable[Any],
        window: int | None = None,
        return_exceptions: bool = False,
        timeout: float | None = None,
        progress: bool = False,
    ) -> MapResults[R_co]:
        """Call the function for each item; return an iterator of the results, in order.

        Items travel together, as many as take a few milliseconds: there is no chunk size to
        choose. They are taken as room comes free, so the iterables may be endless. An item that
        is a ref stands for its value.

        Args:
            iterables: one for each positional argument; the shortest one ends the iteration.
            window: how many items may be under way or wait, done, for their turn; default: some
                dozens of chunks.
            return_exceptions: hand out the exception of a call that failed instead of raising it.
            timeout: seconds from now for all results.
            progress: show on stderr how many are done, as `flame.progress` does.

        Raises:
            TypeError: there is nothing to iterate over.
            GetTimeoutError: from the iterator, when the time is over. What is under way ends.
        """
        return self._mapped().over(
            iterables,
            progress,
            ordered=True,
            window=window,
            return_exceptions=return_exceptions,
            timeout=timeout,
        )

    def starmap(
        self,
        rows: Iterable[Iterable[Any]],
        *,
        window: int | None = None,
        return_exceptions: bool = False,
        timeout: float | None = None,
        progress: bool = False,
    ) -> MapResults[R_co]:
        """As `map`, of tuples that hold the positional arguments of a call each."""
        return self._mapped().over_rows(
            rows,
            progress,
            ordered=True,
            window=window,
            return_exceptions=return_exceptions,
            timeout=timeout,
        )

    def map_unordered(
        self,
        *iterables: Iterable[Any],
        window: int | None = None,
        return_exceptions: bool = False,
        timeout: float | None = None,
        progress: bool = False,
    ) -> MapResults[R_co]:
        """As `map`, but each result comes as soon as it can, in no particular order."""
        return self._mapped().over(
            iterables,
            progress,
            ordered=False,
            window=window,
            return_exceptions=return_exceptions,
            timeout=timeout,
        )

    def _mapped(self) -> MappedCalls:
        if self._many is None:
            from flame_remote._mapped_calls import MappedCalls  # few functions are mapped

            self._many = MappedCalls(self._source, self._options, self._is_stream)
        return self._many

    def __get__(self, instance: object, owner: type | None = None) -> RemoteFunction[P, R_co]:
        if instance is not None and _is_defined_in(self._source.value, type(instance)):
            raise TypeError(
                f"{self.__qualname__} is a method, and @flame.remote is for functions and classes:"
                f" decorate the class {type(instance).__name__}, or put @staticmethod above"
            )
        return self

    def __repr__(self) -> str:
        return f"<remote function {self._source.name}>"

    def __reduce__(self) -> tuple[Any, ...]:
        if (name := by_name(self)) is not None:
            return name.__reduce__()
        # A skeleton first and its contents later: a recursive function contains itself. What is
        # known about the function travels too, as the function may still be a skeleton itself.
        value = self._source.value
        about = {
            "__module__": getattr(value, "__module__", None),
            "__qualname__": getattr(value, "__qualname__", self._source.name),
            "__doc__": value.__doc__,
        }
        name_or_value = by_name(value) or value
        return (
            _skeleton,
            (),
            (name_or_value, self._source.name, about, self._options, self._source.signature),
        )

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        value, name, about, options, signature = state
        vars(self).update(about, __name__=name, __wrapped__=value)
        self._set_up(Source(value, name, signature), options)


def _skeleton() -> RemoteFunction[..., Any]:
    return RemoteFunction.__new__(RemoteFunction)


def _no_service() -> Service | None:
    return None


def _is_defined_in(function: object, owner: type) -> bool:
    """Say whether a function was defined in the body of a class, or of one of its bases."""
    body, _, _ = getattr(function, "__qualname__", "").rpartition(".")
    return any(base.__qualname__ == body for base in owner.__mro__)
