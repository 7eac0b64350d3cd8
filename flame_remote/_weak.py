"""WeakRef: knows an object and does not keep it."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from flame_remote._refs import ObjectRef, engine_of_session

T_co = TypeVar("T_co", covariant=True)


class WeakRef(Generic[T_co]):
    """A handle to an object that does not keep its value; calling it returns a ref that does.

    As `weakref.ref` of Python: for caches and tables of objects that others own. May be passed to
    tasks and kept in values. Constant; safe to use from any thread.
    """

    __slots__ = ("_id", "_session")

    def __init__(self, ref: ObjectRef[T_co]) -> None:
        """Refer to the object of a ref.

        Args:
            ref: what `.remote()` or `put()` returned.

        Raises:
            TypeError: `ref` is no ObjectRef.
        """
        if type(ref) is not ObjectRef:
            raise TypeError(f"WeakRef() takes an ObjectRef, not {type(ref).__name__}")
        self._id = ref._id
        self._session = ref._engine.session

    def __call__(self) -> ObjectRef[T_co] | None:
        """Return a new ref to the object, None if it is gone: nothing refers to it any more.

        Asks the driver when called in a task, and blocks for as long.

        Raises:
            SessionEndedError: the object belongs to a session that has ended.
        """
        engine = engine_of_session(self._session, "a WeakRef")
        # Counted first: what is there now cannot go before it is looked at.
        engine.ref_events.append(-self._id)
        ref: ObjectRef[Any] = ObjectRef(self._id, engine)
        return ref if engine.is_kept(self._id) else None

    def __eq__(self, other: object) -> bool:
        if isinstance(other, WeakRef):
            return (self._id, self._session) == (other._id, other._session)
        return NotImplemented

    def __hash__(self) -> int:
        return hash((self._id, self._session))

    def __repr__(self) -> str:
        from flame_remote._ids import show

        return f"<WeakRef to object {show(self._id)}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self._id, self._session)


def _rebuild(object_id: int, session: str) -> WeakRef[Any]:
    weak: WeakRef[Any] = WeakRef.__new__(WeakRef)
    weak._id, weak._session = object_id, session
    return weak
