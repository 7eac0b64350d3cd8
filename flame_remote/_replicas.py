"""Several instances of a class behind one handle: the option `replicas`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from flame_remote._api import get, put
from flame_remote._options import MethodOptions
from flame_remote._pending_calls import CountedMethodService, PendingCalls
from flame_remote._refs import ObjectRef
from flame_remote._signature import CallSignature
from flame_remote.runner.service import Service


class Replica:
    """One of the instances. The lock of its Replicas guards `load`."""

    def __init__(self, ref: ObjectRef[Any]) -> None:
        self.ref = ref
        self.load = 0  # calls of this process that have not ended

    def is_dead(self) -> bool:
        """Say whether calls can only fail. Does not block long."""
        return self.ref._engine.has_died(self.ref._id)


class Replicas:
    """The instances behind a handle, and what each has to do for this process. Any thread.

    There may come to be more of them only where the first was made: a copy of the handle in
    another process has those that there were when it was passed on.
    """

    def __init__(
        self,
        refs: list[ObjectRef[Any]],
        most: int = 0,
        make: Callable[[], ObjectRef[Any]] | None = None,
    ) -> None:
        """Take over instances; `make` makes further ones, up to `most` in all."""
        self._most = most
        self._make = make
        # A reentrant lock, and no call is made while it is held: a done callback takes it.
        self._lock = threading.RLock()
        # Guarded by self._lock.
        self._replicas = [Replica(ref) for ref in refs]
        self._being_made = 0
        self._turn = 0  # how often one was chosen: of those with the least to do each has its turn

    @classmethod
    def start(
        cls, service: Service, numbers: tuple[int, int], args: tuple[Any, ...], kwargs: Any
    ) -> Replicas:
        """Make as many instances as there are to be at first, and be able to make the others.

        Raises what the construction of the first raises at the call.
        """
        least, most = numbers
        refs = [service.submit(args, kwargs) for _ in range(least)]
        if most == least:
            return cls(refs)
        # As the arguments are now, whatever becomes of them.
        kept = put((args, kwargs))

        def make() -> ObjectRef[Any]:
            args, kwargs = get(kept)
            return service.submit(args, kwargs)

        return cls(refs, most, make)

    def refs(self) -> list[ObjectRef[Any]]:
        """Return the instances that there are now."""
        with self._lock:
            return [replica.ref for replica in self._replicas]

    def stop_growing(self) -> None:
        """Make no further instances."""
        self._make = None

    def choose(self) -> Replica:
        """Return the one with the least to do that is not known to be dead; make one if all that
        there are have something to do, and more are allowed.
        """
        living = [replica for replica in self._replicas if not replica.is_dead()]
        with self._lock:
            make = self._make
            is_busy = all(replica.load for replica in living)
            is_room = len(self._replicas) + self._being_made < self._most
            if make is None or not is_busy or not is_room:
                return self._least_loaded(living or self._replicas)
            self._being_made += 1
        try:
            made = Replica(make())
            with self._lock:
                self._replicas.append(made)
            return made
        finally:
            with self._lock:
                self._being_made -= 1

    def _least_loaded(self, replicas: list[Replica]) -> Replica:
        """Return one of those with the least to do. The caller holds self._lock."""
        self._turn += 1
        start = self._turn % len(replicas)
        return min(replicas[start:] + replicas[:start], key=lambda replica: replica.load)

    def began(self, replica: Replica, ref: ObjectRef[Any]) -> None:
        """Note a call of one of them, until it has ended."""
        with self._lock:
            replica.load += 1
        ref.add_done_callback(partial(self._ended, replica))

    def _ended(self, replica: Replica, ref: object) -> None:
        with self._lock:
            replica.load -= 1

    def __reduce__(self) -> tuple[Any, ...]:
        return Replicas, (self.refs(),)


class ReplicatedMethod:
    """A method of any of several instances; in place of a MethodService. Any thread."""

    def __init__(
        self,
        replicas: Replicas,
        actor_name: str,
        method: str,
        signature: CallSignature | None,
        options: MethodOptions,
        pending: PendingCalls | None,
    ) -> None:
        # Constant after construction.
        self.name = options.name or f"{actor_name}.{method}"
        self._replicas = replicas
        self._pending = pending
        self._bind = partial(
            CountedMethodService,
            actor_name=actor_name,
            method=method,
            signature=signature,
            options=options,
        )
        first = replicas.refs()[0]
        self.engine = first._engine
        # Any thread; two may both make one, and either serves.
        self._services: dict[int, CountedMethodService] = {first._id: self._bind(first)}

    def submit(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Hand one call to the instance with the least to do; as in Service."""
        pending = self._pending
        if pending is None:
            return self._submit(args, kwargs)[0]
        counted: ObjectRef[Any] | None = None
        pending.enter(self.name)
        try:
            made, counted = self._submit(args, kwargs)
        finally:
            pending.leave(counted)
        return made

    def _submit(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[Any, ObjectRef[Any]]:
        replica = self._replicas.choose()
        service = self._services.get(replica.ref._id)
        if service is None:
            service = self._services[replica.ref._id] = self._bind(replica.ref)
        made, ref = service.submit_counted(args, kwargs)
        self._replicas.began(replica, ref)
        return made, ref
