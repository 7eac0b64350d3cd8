"""A stand-in for a value: fetched at first touch, a ref again on its way to a task."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import wrapt

from flame_remote import _refs
from flame_remote._refs import ObjectRef


class ValueProxy(wrapt.LazyObjectProxy[Any]):
    """Behaves as the value of a ref; the first touch waits for it and keeps it."""

    def __init__(self, fetch: Callable[[], Any], ref: ObjectRef[Any]) -> None:
        super().__init__(fetch)
        self._self_ref = ref

    # wrapt adds these once it knows the value; as a first touch they must be there before.
    def __iter__(self) -> Iterator[Any]:
        return iter(self.__wrapped__)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__wrapped__(*args, **kwargs)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return proxy_of, (self._self_ref,)

    @property  # type: ignore[misc]
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        # Picklers ask for the class of everything; the answer must not cost a fetch.
        if _refs.refs_being_collected() is not None:
            return ValueProxy
        return self.__wrapped__.__class__


def proxy_of(ref: ObjectRef[Any]) -> ValueProxy:
    """Return a stand-in for the value of `ref`. Does not block."""
    return ValueProxy(ref.get, ref)


def ref_behind(value: Any) -> Any:
    """Return the ref that a stand-in stands for, anything else as it is. Fetches nothing."""
    # wrapt makes a subclass per instance. The type, not isinstance(), which would ask the value.
    return value._self_ref if issubclass(type(value), ValueProxy) else value
