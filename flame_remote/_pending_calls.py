"""How many calls of a handle may be under way: the option `max_pending_calls`."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flame_remote._options import MethodOptions
from flame_remote._refs import ObjectRef
from flame_remote._signature import CallSignature
from flame_remote._spec import TaskSpec
from flame_remote.exceptions import PendingCallsLimitError
from flame_remote.runner.service import MethodService


class PendingCalls:
    """The calls made through one handle, in this process, that have not ended. Any thread.

    A copy of the handle in another process begins with none.
    """

    def __init__(self, limit: int) -> None:
        # Constant after construction.
        self.limit = limit
        # Held until they have ended, so that this can be asked. Callbacks, which must not wait,
        # take them out without the lock.
        self._refs: dict[int, ObjectRef[Any]] = {}
        self._lock = threading.RLock()
        # Guarded by self._lock; no call is made while it is held.
        self._being_made = 0

    def enter(self, name: str) -> None:
        """Take a place for a call of method `name`. Raises PendingCallsLimitError."""
        if self._take_place():
            return
        # Some may have ended whose callbacks have not run yet. Asking may wait for the thread that
        # runs those: no lock is held.
        for ref in list(self._refs.values()):
            if ref.done():
                self._ended(ref)
        if not self._take_place():
            raise PendingCallsLimitError(name, self.limit)

    def leave(self, ref: ObjectRef[Any] | None) -> None:
        """Leave the place to the call that was made, None if none was."""
        with self._lock:
            self._being_made -= 1
            if ref is not None:
                self._refs[ref._id] = ref
        if ref is not None:
            ref.add_done_callback(self._ended)

    def _take_place(self) -> bool:
        with self._lock:
            if len(self._refs) + self._being_made >= self.limit:
                return False
            self._being_made += 1
            return True

    def _ended(self, ref: ObjectRef[Any]) -> None:
        self._refs.pop(ref._id, None)


class CountedMethodService(MethodService):
    """A method of one instance, for who must know when each call has ended."""

    __slots__ = ("_returns_nothing",)

    def __init__(
        self,
        instance: ObjectRef[Any],
        actor_name: str,
        method: str,
        signature: CallSignature | None,
        options: MethodOptions,
    ) -> None:
        super().__init__(instance, actor_name, method, signature, options)
        self._returns_nothing = options.num_returns == 0
        if self._returns_nothing:
            self._engine_submit = self._submit_for_no_parts

    def submit_counted(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[Any, ObjectRef[Any]]:
        """As `submit`; return also a ref that is there when the call has ended."""
        made: Any = super().submit(args, kwargs)
        if self._returns_nothing:
            return None, made
        return made, made[0] if isinstance(made, list) else made  # several come together

    def _submit_for_no_parts(self, spec: TaskSpec) -> ObjectRef[Any]:
        """Hand over a call that returns nothing; return the ref of the call as a whole."""
        return self.engine.submit(replace(spec, returns=()))


class LimitedMethodService(CountedMethodService):
    """A method of one instance, called through a handle with a limit."""

    __slots__ = ("_pending",)

    def __init__(
        self,
        instance: ObjectRef[Any],
        actor_name: str,
        method: str,
        signature: CallSignature | None,
        options: MethodOptions,
        pending: PendingCalls,
    ) -> None:
        super().__init__(instance, actor_name, method, signature, options)
        self._pending = pending

    def submit(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> ObjectRef[Any]:
        """Hand one call to the engine; as in Service. Raises PendingCallsLimitError."""
        self._pending.enter(self.target.name)
        counted: ObjectRef[Any] | None = None
        try:
            made, counted = self.submit_counted(args, kwargs)
        finally:
            self._pending.leave(counted)
        return made  # type: ignore[no-any-return]
