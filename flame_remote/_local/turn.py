"""Whose turn it is to change the engine: any thread's, one at a time, never torn by Ctrl-C."""

from __future__ import annotations

import threading

from flame_remote.exceptions import EngineError


class Turn:
    """A lock that the main thread's KeyboardInterrupt cannot tear; used as a context manager.

    Python raises KeyboardInterrupt in the main thread between any two bytecodes, thus also in the
    middle of a change. A signal handler asks `defer_interrupt()` first: while the main thread has
    its turn the interrupt is noted, and raised as the turn ends. Never held across I/O that blocks.

    Not reentrant: a finaliser of the user's that runs inside a turn, and calls the API, gets an
    EngineError instead of a deadlock.
    """

    def __init__(self) -> None:
        # Not once for the module: in a child of os.fork() another thread may be the main one.
        self._main_thread = threading.main_thread().ident  # constant after construction
        self._lock = threading.Lock()
        self._owner: int | None = None  # written by the thread whose turn it is
        # Main thread only. Guarded from before it acquires the lock until after it has released
        # it, so that no interrupt falls between having the lock and saying so.
        self._guarded = False
        self._interrupted = False

    def __enter__(self) -> None:
        me = threading.get_ident()
        if self._owner == me:
            raise EngineError("flame was called from a finaliser that runs inside flame itself")
        if me == self._main_thread:
            self._guarded = True
        self._lock.acquire()
        self._owner = me

    def __exit__(self, *_: object) -> None:
        main = self._owner == self._main_thread
        self._owner = None
        self._lock.release()
        if main:
            self._guarded = False
            if self._interrupted:
                self._interrupted = False
                raise KeyboardInterrupt

    def enter_if_free(self) -> bool:
        """Take the turn, to be ended by `__exit__`, unless somebody has it; say which."""
        me = threading.get_ident()
        if me == self._main_thread and self._owner != me:
            self._guarded = True
        if self._lock.acquire(blocking=False):
            self._owner = me
            return True
        if me == self._main_thread and self._owner != me:
            self._guarded = False
        return False

    def is_mine(self) -> bool:
        """Say whether the calling thread has its turn."""
        return self._owner == threading.get_ident()

    def defer_interrupt(self) -> bool:
        """Note an interrupt if the main thread has its turn. Called by signal handlers only."""
        if self._guarded:
            self._interrupted = True
        return self._guarded
