"""Ctrl-C in the driver: it strikes between any two bytecodes, but not in the middle of a turn."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from types import FrameType

from .fragile import is_in_finaliser, is_in_import_system
from .turn import Turn


class CtrlC:
    """Stands before Python's own SIGINT handler.

    Only before that one: a handler of the user's is left alone.
    """

    def __init__(self, turns: Sequence[Turn], call_later: Callable[[Callable[[], None]], None]):
        """`turns` are asked, outer ones first; `call_later` has the engine's thread call."""
        # Constant after construction.
        self._turns = turns
        self._call_later = call_later
        # Main thread only.
        self._is_installed = False
        self.strikes = 0  # how often it was pressed

    def install(self) -> None:
        """Take SIGINT over, if the calling thread can and Python's own handler has it."""
        if (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        ):
            signal.signal(signal.SIGINT, self._on_interrupt)
            self._is_installed = True

    def remove(self) -> None:
        """Give SIGINT back, if it is still ours."""
        if threading.current_thread() is threading.main_thread() and self._has_sigint():
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def may_have_struck(self, strikes: int) -> bool:
        """Say whether a KeyboardInterrupt here may be Ctrl-C, and not raised by user code.

        `strikes` is what it was before.
        """
        if threading.current_thread() is not threading.main_thread():
            return False
        return strikes != self.strikes or not self._has_sigint()

    def _has_sigint(self) -> bool:
        return self._is_installed and signal.getsignal(signal.SIGINT) == self._on_interrupt

    def _on_interrupt(self, signum: int, frame: FrameType | None) -> None:
        self.strikes += 1
        # Outer turns first: the interrupt is raised as the outermost ends.
        if any(turn.defer_interrupt() for turn in self._turns):
            return
        if is_in_finaliser(frame) or is_in_import_system(frame):
            # Raised there it would be lost, and the count of a ref with it, or a lock. So again,
            # from the engine's thread.
            self._call_later(partial(_interrupt_again, threading.get_ident()))
            return
        signal.default_int_handler(signum, frame)


def _interrupt_again(thread: int) -> None:
    # By then that, a few microseconds long, is over; if not, there is a third time.
    time.sleep(0.001)
    signal.pthread_kill(thread, signal.SIGINT)
