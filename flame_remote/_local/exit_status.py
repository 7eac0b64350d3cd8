"""How a process ended, in words."""

from __future__ import annotations

import os
import signal


def in_words(status: int) -> str:
    """Say what a status of os.waitpid() means: "was killed by signal 9 (SIGKILL)"."""
    if os.WIFSIGNALED(status):
        return f"was killed by signal {name_of(os.WTERMSIG(status))}"
    return f"exited with code {os.WEXITSTATUS(status)}"


def name_of(number: int) -> str:
    """Return a signal's number with its name, if it has one: "9 (SIGKILL)"."""
    try:
        return f"{number} ({signal.Signals(number).name})"
    except ValueError:
        return str(number)
