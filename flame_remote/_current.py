"""Which engine this process uses: one at a time.

Set by `flame.init`, by the first call that needs an engine, or by the runtime of a worker. Hot
paths read `engine` as it stands; everybody else asks `current_engine()`.
"""

from __future__ import annotations

import os

from flame_remote._refs import engine_of_session, register_engine
from flame_remote.engine import Engine
from flame_remote.exceptions import ForkedError

# Written by set_current() only; reading is safe from any thread. None: no engine yet, no longer,
# or one that belongs to the parent of this process.
engine: Engine | None = None

# What the parent used when it forked this process. Held so that its finalisers never run here.
_of_the_parent: Engine | None = None


def current_engine() -> Engine | None:
    """Return the engine of this process, None if there is none.

    Raises:
        ForkedError: this process was made by os.fork() and has not started an engine of its own.
    """
    if engine is None and _of_the_parent is not None:
        raise ForkedError()
    return engine


def set_current(new: Engine | None) -> None:
    """Make `new` the engine of this process; None leaves the process without one."""
    global engine, _of_the_parent
    _of_the_parent = None
    if new is not None:
        register_engine(new)
    engine = new


def require_usable(owner: Engine, what: str) -> None:
    """Check that `owner`, the engine of `what`, can still be used in this process.

    Raises:
        ForkedError: `owner` belongs to the parent of this process.
        SessionEndedError: `owner` was closed.
    """
    if owner is not engine:
        current_engine()
        engine_of_session(owner.session, what)


def _forget_the_parents_engine() -> None:
    global engine, _of_the_parent
    if engine is not None:
        engine, _of_the_parent = None, engine


os.register_at_fork(after_in_child=_forget_the_parents_engine)
