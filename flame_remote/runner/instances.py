"""The instances behind a service, where the engine leaves their number and state to us."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from flame_remote._actor_facts import MethodFacts
from flame_remote._options import MethodOptions
from flame_remote._refs import ObjectRef
from flame_remote._spec import Target
from flame_remote.engine import Engine
from flame_remote.exceptions import EngineClosedError

from .hosting import CALL, OUTCOME, STATE, SavedState
from .service import MethodService, Service

CALL_ITSELF = "__call__"  # the method of what is called as a function


class Instance:
    """One instance in one worker. Safe to use from any thread."""

    def __init__(
        self,
        engine: Engine,
        target: Target,
        methods: Mapping[str, MethodFacts],
        arguments: tuple[Any, ...] = (),
    ) -> None:
        """Begin to make it; `target` makes it from `arguments`."""
        self._engine = engine
        self._target = target
        self._methods = methods
        self._ref = Service(engine, target, None).submit(arguments, {})
        self._services: dict[str, MethodService] = {}
        self._counted: set[int] = set()  # calls under way; added to and taken from one by one

    @property
    def is_dead(self) -> bool:
        """Whether it was lost with its worker, or could not be made."""
        return self._engine.has_died(self._ref._id)

    @property
    def load(self) -> int:
        """How many of the calls that were counted are under way."""
        return len(self._counted)

    def submit(
        self, method: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> ObjectRef[Any]:
        """Hand one call to the instance. Calls of one thread run in order."""
        return self._service_of(method).submit(args, kwargs)

    def count(self, ref: ObjectRef[Any]) -> None:
        """Count a call as load until it ends."""
        counted = self._counted
        counted.add(ref._id)
        self._engine.on_done(ref, lambda ended: counted.discard(ended._id))

    def successor(self, target: Target) -> Instance:
        """Make the instance that takes the place of this one, which is dead."""
        return Instance(self._engine, target, self._methods)

    def _service_of(self, method: str) -> MethodService:
        service = self._services.get(method)
        if service is None:
            facts = self._methods.get(method)
            service = self._services[method] = MethodService(
                self._ref,
                self._target.name,
                method,
                None if facts is None else facts.signature,
                MethodOptions(self._target.name if method == CALL_ITSELF else ""),
            )
        return service


class StatefulInstance(Instance):
    """One instance that a StatefulHost holds, and what was saved of it."""

    def __init__(
        self,
        engine: Engine,
        target: Target,
        methods: Mapping[str, MethodFacts],
        code: bytes,
        saved: ObjectRef[SavedState] | None = None,
        unsure: Sequence[ObjectRef[SavedState]] = (),
    ) -> None:
        """Begin to make it: from `code`, or from what was saved of an earlier one."""
        # Constant after construction.
        self._code = code
        self._numbers = itertools.count(1)
        # Guarded by self._lock. Reentrant: whoever looks at a state may be handed callbacks.
        self._lock = threading.RLock()
        self._saved = saved  # the youngest state that is known to be saved
        self._unsure = deque(unsure)  # younger ones, of calls that may be under way
        super().__init__(engine, target, methods, (code, target.name, saved, list(unsure)))

    def submit(
        self, method: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> ObjectRef[Any]:
        """Hand one call to the instance; what it returns is there once the state is saved."""
        service, number = self._service_of(method), next(self._numbers)
        state = service.submit(args, {**kwargs, CALL: number})
        # It takes the state so that it fails as the first half did.
        outcome = service.submit((), {OUTCOME: number, STATE: state})
        self._unsure.append(state)
        # As soon as it is saved, as states may be large and calls many.
        self._engine.on_done(state, lambda _: self._forget_old_states())
        return outcome

    def successor(self, target: Target) -> Instance:
        """Make the instance that goes on from what was saved of this one, which is dead."""
        with self._lock:
            saved, unsure = self._saved, list(self._unsure)
        return StatefulInstance(self._engine, target, self._methods, self._code, saved, unsure)

    def _forget_old_states(self) -> None:
        with self._lock:
            while self._unsure and self._engine.is_done(self._unsure[0]):
                state = self._unsure[0]
                if state.exception() is None:  # opens it as bytes only
                    self._saved = state
                self._unsure.popleft()


def targets_of(engine: Engine, target: Target) -> Iterator[Target]:
    """Yield a target for each instance that is made. On a cluster, each has a session of its own.

    The first has the session that the target names.
    """
    yield target
    for number in itertools.count(2):
        if engine.cluster is None or target.policy is None:
            yield target
        else:
            policy = replace(target.policy, session_id=f"{target.policy.session_id}-{number}")
            yield replace(target, id=target.id ^ number, policy=policy)


class Instances:
    """The instances of a service: a fixed number, or as many as there are calls at a time.

    Safe to use from any thread. A dead instance is replaced by the next call.
    """

    def __init__(
        self,
        make: Callable[[Target], Instance],
        targets: Iterator[Target],
        fewest: int,
        most: int,
    ) -> None:
        """Begin to make `fewest` instances; each takes the next of `targets`."""
        # Constant after construction.
        self._make = make
        self._targets = targets
        self._most = most
        # Guarded by self._lock. Reentrant: the inline engine runs constructors at once, and those
        # may call the service.
        self._lock = threading.RLock()
        self._closed = False
        self._instances = [make(next(targets)) for _ in range(fewest)]

    def submit(
        self, method: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> ObjectRef[Any]:
        """Hand a call to the instance with the fewest calls under way."""
        instance = self._choose()
        ref = instance.submit(method, args, kwargs)
        if self._most > 1:
            instance.count(ref)
        return ref

    def close(self) -> None:
        """Let the instances go; each ends after the calls that it has been handed."""
        with self._lock:
            self._closed = True
            self._instances.clear()

    def _choose(self) -> Instance:
        with self._lock:
            if self._closed:
                raise EngineClosedError("the service was closed meanwhile")
            instances = self._instances
            for place, instance in enumerate(instances):
                if instance.is_dead:
                    instances[place] = instance.successor(next(self._targets))
            least = min(instances, key=lambda instance: instance.load, default=None)
            if least is None or (least.load and len(instances) < self._most):
                least = self._make(next(self._targets))
                instances.append(least)
            else:  # of equal ones the next time another
                instances.remove(least)
                instances.append(least)
            return least
