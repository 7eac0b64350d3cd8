"""ObjectRef: a counted, awaitable handle to a value that exists or will exist."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, cast

from flame_remote._deadline import Deadline
from flame_remote._foreign_names import ref_names
from flame_remote._ids import ObjectId
from flame_remote.exceptions import RefMisuseError, SessionEndedError

if TYPE_CHECKING:
    import asyncio
    import concurrent.futures

    from flame_remote._weak import WeakRef
    from flame_remote.engine import Engine

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class ObjectRef(Generic[T_co]):
    """A handle to the result of a call, or to a value that was put.

    Each live instance counts; when the last one is gone, in every process, the value is freed.
    Pass it to `.remote()` and the value arrives in its place; inside a container it stays a ref.
    Safe to use from any thread.
    """

    __slots__ = ("__weakref__", "_engine", "_id")

    def __init__(self, object_id: ObjectId, engine: Engine) -> None:
        """Take over one count of the object, which the engine gives back when this ref dies."""
        self._id = object_id
        self._engine = engine

    def __del__(self) -> None:
        # Runs at any moment in any thread, even inside the engine: append, and nothing else.
        engine = getattr(self, "_engine", None)
        if engine is not None:  # else __init__ did not finish
            engine.ref_events.append(self._id)

    # --- the value ---

    def get(self, timeout: float | None = None) -> T_co:
        """Wait for the value and return it; raise the task's own error if it failed.

        Args:
            timeout: seconds to wait at most; None waits as long as it takes.

        Raises:
            GetTimeoutError: the time is over; the task goes on.
            TaskError: the task raised; also an instance of the exception's own type.
        """
        try:
            return cast(T_co, self._engine.get([self], Deadline(timeout))[0])
        except BaseException as error:
            from flame_remote._own_frames import seen_from_here  # above this module

            raise seen_from_here(error)  # noqa: B904  the same error

    result = get

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the task has ended, without fetching its value; raise its error if it failed.

        Args:
            timeout: seconds to wait at most; None waits as long as it takes.

        Raises:
            GetTimeoutError: the time is over; the task goes on.
            TaskError: the task raised; also an instance of the exception's own type.
        """
        self._engine.join([self], Deadline(timeout))

    def ref(self, timeout: float | None = None) -> Any:
        """Return a reference that can be passed on, and be given to `core.get_object`.

        On a Flame cluster that is a `core.ObjectRef`, which exists once the task has ended; on the
        other engines it is this ref.

        Args:
            timeout: seconds to wait at most for the task to end; None waits as long as it takes.

        Raises:
            GetTimeoutError: the time is over; the task goes on.
            TaskError: the task raised; also an instance of the exception's own type.
        """
        return self._engine.reference_to(self, Deadline(timeout))

    def done(self) -> bool:
        """Say whether the value, or an error, is there. Does not block."""
        return self._engine.is_done(self)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait until the task has ended; return its error, or None if it succeeded."""
        try:
            self.get(timeout)
        except Exception as error:
            if isinstance(error, TimeoutError) and not self.done():
                raise
            return error
        return None

    def cancel(
        self, *, force: bool = False, recursive: bool = True, grace: float | None = None
    ) -> bool:
        """Ask for the task to be cancelled; see `flame_remote.cancel`."""
        patience = None if grace is None else Deadline(grace, "grace")
        granted = self._engine.cancel(self, force, recursive)
        if force or not granted or patience is None:
            return granted
        if not self._engine.wait([self], 1, patience):
            self._engine.cancel(self, True, recursive)
        return True

    def add_done_callback(self, callback: Callable[[ObjectRef[T_co]], object]) -> None:
        """Call `callback(ref)` once the value or an error is there; at once if it is already.

        The callback runs in a thread of the engine, or in the calling thread, and may call the API.
        Others wait for their turn meanwhile, so it should not block. An exception from it is logged
        and goes no further.
        """
        self._engine.on_done(self, cast("Callable[[ObjectRef[Any]], object]", callback))

    def future(self) -> concurrent.futures.Future[T_co]:
        """Return a `concurrent.futures.Future` of the result; cancelling it cancels no task."""
        from flame_remote._future import future_of

        return future_of(self)

    def __await__(self) -> Generator[Any, None, T_co]:
        """Wait for the value without blocking the running event loop."""
        import asyncio

        if not self.done():
            loop = asyncio.get_running_loop()
            arrived: asyncio.Future[None] = loop.create_future()
            self.add_done_callback(lambda _: _wake(loop, arrived))
            yield from arrived
        return self.get()

    def proxy(self) -> T_co:
        """Return an object that behaves as the value, fetched at first touch.

        Passed to `.remote()`, it turns back into this ref. Typed as the value.
        """
        from flame_remote._proxy import proxy_of

        return cast(T_co, proxy_of(self))

    def weak(self) -> WeakRef[T_co]:
        """Return a handle that does not keep the value; called, it returns a ref, or None."""
        from flame_remote._weak import WeakRef

        return WeakRef(self)

    # --- identity ---

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ObjectRef):
            return self._id == other._id and self._engine.session == other._engine.session
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self._id)

    def hex(self) -> str:
        """Return what tells the object from all others, of other sessions too: 48 hex digits."""
        from hashlib import blake2b

        session = blake2b(self._engine.session.encode(), digest_size=16).hexdigest()
        return f"{session}{self._id:016x}"

    def __repr__(self) -> str:
        return f"<ObjectRef {self._engine.describe(self)}>"

    def __copy__(self) -> ObjectRef[T_co]:
        return self

    def __deepcopy__(self, memo: object) -> ObjectRef[T_co]:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        collected = refs_being_collected()
        if collected is None:
            # Pickled by the user's own hand: nobody can tell when the copy dies, so it never does.
            self._engine.ref_events.append(-self._id)
        else:
            collected.append(self)
        return _rebuild, (self._id, self._engine.session)

    # --- used as if it were the value ---

    def _misused(self, *_: object, **__: object) -> NoReturn:
        raise RefMisuseError(self._misuse_text())

    def _misuse_text(self) -> str:
        return (
            f"this is an ObjectRef to {self._engine.describe(self)}, not the value itself: "
            "use flame.get(ref), or await it"
        )

    if not TYPE_CHECKING:  # a type checker already knows that these do not exist
        __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _misused
        __truediv__ = __rtruediv__ = __floordiv__ = __mod__ = __pow__ = __neg__ = _misused
        __lt__ = __le__ = __gt__ = __ge__ = __int__ = __float__ = __index__ = _misused
        __iter__ = __len__ = __getitem__ = __setitem__ = __contains__ = __call__ = _misused

        def __getattr__(self, name: str) -> Any:
            if name.startswith("__") or name in ("_id", "_engine"):
                raise AttributeError(name)  # an ordinary answer to who probes for hooks
            if name in ref_names:
                return ref_names[name](self)
            raise AttributeError(f"{name!r}: {self._misuse_text()}")

        def __bool__(self) -> bool:
            import warnings

            warnings.warn(
                f"an ObjectRef is always true: {self._misuse_text()}", RuntimeWarning, stacklevel=2
            )
            return True


def _wake(loop: asyncio.AbstractEventLoop, arrived: asyncio.Future[None]) -> None:
    """Tell the waiting coroutine; its loop may be closed by now, or its wait cancelled."""

    def set_result() -> None:
        if not arrived.done():
            arrived.set_result(None)

    with suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(set_result)


# --- refs inside values -------------------------------------------------------------------------

_packing = threading.local()
_engines: weakref.WeakValueDictionary[str, Engine] = weakref.WeakValueDictionary()


class _CollectedRefs(list["ObjectRef[Any]"]):
    __slots__ = ("__weakref__",)


class collecting_refs:
    """Collect every ref that is pickled inside the block, in this thread, in the list it gives.

    The list lives as long as the block that holds it, and only so long does it count: Ctrl-C may
    strike as `__exit__` begins. A class, as no interrupt falls between the last line of its
    `__enter__` and the block.
    """

    __slots__ = ("_outer",)

    def __enter__(self) -> list[ObjectRef[Any]]:
        refs = _CollectedRefs()
        self._outer = getattr(_packing, "refs", None)
        _packing.refs = weakref.ref(refs)
        return refs

    def __exit__(self, *_: object) -> None:
        _packing.refs = self._outer


def refs_being_collected() -> list[ObjectRef[Any]] | None:
    """Return the list of the block of `collecting_refs` that this thread is in, None outside."""
    collected = getattr(_packing, "refs", None)
    return None if collected is None else collected()


def register_engine(engine: Engine) -> None:
    """Make `engine` the one that unpickled refs of its session belong to, in this process."""
    _engines[engine.session] = engine


def unregister_engine(engine: Engine) -> None:
    """Forget `engine`; refs of its session that arrive later raise SessionEndedError."""
    _engines.pop(engine.session, None)


def engine_of_session(session: str, what: str) -> Engine:
    """Return the engine of a session in this process. Raises SessionEndedError naming `what`."""
    engine = _engines.get(session)
    if engine is None:
        raise SessionEndedError(what)
    return engine


def _rebuild(object_id: ObjectId, session: str) -> ObjectRef[Any]:
    engine = engine_of_session(session, "an ObjectRef")
    # The count is announced before anything that still holds the object can let go of it: what
    # contains this pickle is held while it is unpickled, and events are taken in order.
    engine.ref_events.append(-object_id)
    return ObjectRef(object_id, engine)
