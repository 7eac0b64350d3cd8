"""The decorator, and what it makes of a function."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Coroutine, Iterable, Sized
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Generic, ParamSpec, Protocol, TypeVar, overload

from flame_remote import _current
from flame_remote._actor import ActorClass
from flame_remote._execute.producing import makes_items
from flame_remote._options import (
    ActorOptions,
    ActorOptionsDict,
    TaskOptions,
    TaskOptionsDict,
    changed,
    nearest,
)
from flame_remote._own_frames import seen_from_here
from flame_remote._refs import ObjectRef
from flame_remote._registry import service_of
from flame_remote._session import ensure_engine
from flame_remote._signature import anything, misfit
from flame_remote._typed_actor import Actor
from flame_remote.exceptions import FlameError, InvalidOptionError
from flame_remote.runner.service import Service
from flame_remote.runner.source import Source, by_name

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from flame_remote._cached_calls import CachedCalls
    from flame_remote._map import MapResults
    from flame_remote._progress import Bar

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")
T = TypeVar("T")
A = TypeVar("A", bound=Actor)


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
        self._cached = None if options.cache is None else _cached_calls(source, options)
        self._stream: Source | None = None  # of a generator function: what runs at the far end
        if makes_items(source.value) and options.num_returns == 1:
            self._set_up_stream()
        elif options.backpressure is not None:
            raise InvalidOptionError(
                f"the function {source.name} cannot have backpressure: that is for generator "
                "functions whose items come one by one"
            )
        self._chunk: Source | None = None  # what calls the function for many items in one task

    def _set_up_stream(self) -> None:
        """Make calls return a generator of refs; see `_stream.py`."""
        from flame_remote._stream import check_stream_options, stream_source

        check_stream_options(self._source.name, self._options)
        self._stream = stream_source(self._source)
        self.remote = self._start_stream  # type: ignore[method-assign]

    def _start_stream(self, /, *args: Any, **kwargs: Any) -> Any:
        """Start the generator on a worker; return an ObjectRefGenerator at once."""
        from flame_remote._stream import start_stream

        try:
            self._check(*args, **kwargs)
        except TypeError as error:
            raise misfit(error, self._source.name, self._source.signature) from None
        assert self._stream is not None
        try:
            return start_stream(self._stream, self._options, args, kwargs)
        except FlameError as error:
            raise seen_from_here(error)  # noqa: B904  the same error

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
            if self._cached is not None:
                return self._cached.submit(args, kwargs)
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
        if self._cached is None:
            raise TypeError(f"{self.__name__} has no cache: use @flame.remote(cache=True)")
        self._cached.clear()

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
        if not iterables:
            raise TypeError(f"{self.__name__}.map() takes one or more iterables")
        star = len(iterables) > 1
        rows = zip(*iterables) if star else next(iter(iterables))  # noqa: B905  the shortest ends it
        bar = self._bar_over(iterables) if progress else None
        return self._mapped(rows, star, True, window, return_exceptions, timeout, bar)

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
        bar = self._bar_over((rows,)) if progress else None
        return self._mapped(map(tuple, rows), True, True, window, return_exceptions, timeout, bar)

    def map_unordered(
        self,
        *iterables: Iterable[Any],
        window: int | None = None,
        return_exceptions: bool = False,
        timeout: float | None = None,
        progress: bool = False,
    ) -> MapResults[R_co]:
        """As `map`, but each result comes as soon as it can, in no particular order."""
        if not iterables:
            raise TypeError(f"{self.__name__}.map_unordered() takes one or more iterables")
        star = len(iterables) > 1
        rows = zip(*iterables) if star else next(iter(iterables))  # noqa: B905  the shortest ends it
        bar = self._bar_over(iterables) if progress else None
        return self._mapped(rows, star, False, window, return_exceptions, timeout, bar)

    def _mapped(
        self,
        rows: Iterable[Any],
        star: bool,
        ordered: bool,
        window: int | None,
        return_exceptions: bool,
        timeout: float | None,
        bar: Bar | None,
    ) -> MapResults[R_co]:
        from flame_remote._execute.chunk import Chunk
        from flame_remote._map import MapResults

        if window is not None and (isinstance(window, bool) or not isinstance(window, int)):
            raise TypeError(f"window must be a whole number, not {type(window).__name__}")
        if window is not None and window < 1:
            raise ValueError(f"window must be 1 or more items, not {window}")
        source = self._source
        if self._stream is not None:
            raise TypeError(f"{self.__name__} is a generator function, which map() cannot call")
        if self._chunk is None:
            chunk = Chunk(source.value, source.name, by_name(source.value))
            self._chunk = Source(chunk, source.name, None)
        engine = ensure_engine()
        options = self._options
        if options.num_returns != 1:
            options = replace(options, num_returns=1)  # one result for each item
        return MapResults(
            service_of(engine, self._chunk, options),
            service_of(engine, source, options),
            rows,
            star=star,
            ordered=ordered,
            window=window,
            return_exceptions=return_exceptions,
            timeout=timeout,
            bar=bar,
        )

    def _bar_over(self, iterables: Iterable[Any]) -> Bar:
        """Make a bar as long as the shortest of those that have a length."""
        from flame_remote._progress import Bar

        lengths = [len(each) for each in iterables if isinstance(each, Sized)]
        return Bar(min(lengths, default=None), self.__name__)

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


def _cached_calls(source: Source, options: TaskOptions) -> CachedCalls:
    from flame_remote._cached_calls import CachedCalls  # few functions have a cache

    assert options.cache is not None
    return CachedCalls(source, options, options.cache)


def _no_service() -> Service | None:
    return None


def _is_defined_in(function: object, owner: type) -> bool:
    """Say whether a function was defined in the body of a class, or of one of its bases."""
    body, _, _ = getattr(function, "__qualname__", "").rpartition(".")
    return any(base.__qualname__ == body for base in owner.__mro__)


# --- the decorator --------------------------------------------------------------------------------


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
