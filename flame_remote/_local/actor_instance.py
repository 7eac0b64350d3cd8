"""The instance of a user's class that lives in a worker, if the worker is an actor's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from flame_remote._execute.actor_exit import how_it_exits
from flame_remote._execute.iterations import Iterations, method_in

from .keeping import StateKeeper
from .messages import LoadTarget
from .revival import STATE_PLACE

_NO_STATE: Final = object()


class ActorInstance:
    """Holds the one instance: constructed by the first call, let go of by `close`. Main thread."""

    def __init__(self, keep_state: Callable[[Any, str], None]) -> None:
        """`keep_state` is given the state of the instance, and what it is in words."""
        self._keep_state = keep_state
        self._instance: Any = None
        self._keeper: StateKeeper | None = None  # of its state, if that is kept
        self._iterations = Iterations()  # of its generator methods
        self.name = ""  # the class's, for people

    @property
    def exists(self) -> bool:
        """Whether an actor lives here, and has been constructed."""
        return self._instance is not None

    def construct(
        self, target: LoadTarget, cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Make the instance, from the state that was kept last if there is one."""
        self.name = target.name
        state = kwargs.pop(STATE_PLACE, _NO_STATE)
        instance: Any = cls(*args, **kwargs)
        if state is not _NO_STATE:
            instance.__flame_restore__(state)
        if target.checkpoint_every:
            name = f"the state that {target.name}.__flame_checkpoint__() returned"
            self._keeper = StateKeeper(
                instance.__flame_checkpoint__,
                target.checkpoint_every,
                lambda state: self._keep_state(state, name),
            )
        self._instance = instance

    def method(self, target_id: str) -> Callable[..., Any]:
        """Return what a call of that method calls."""
        found = self._iterations.find(self._instance, target_id)
        return found if self._keeper is None else self._keeper.around(found)

    def name_of(self, target_id: str) -> str:
        """Return a method's name for people. Any thread."""
        if target_id == "__call__":  # of the function that is the instance here
            return self.name
        return f"{self.name}.{method_in(target_id)}"

    def how_it_exits(self, error: object) -> str:
        """Return how the actor ends whose method raised that, "" if it goes on. Any thread."""
        return how_it_exits(error, self._instance) if self._instance is not None else ""

    def close(self) -> None:
        """Let go of the instance, so that its own clean-up runs."""
        self._iterations.clear()
        self._instance = self._keeper = None
