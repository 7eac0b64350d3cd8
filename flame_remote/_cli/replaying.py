"""`flame-remote replay`: a call that failed, made again here."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

from flame_remote._replay import replay
from flame_remote.exceptions import ReplayError

from .ending import CommandError, ExitCode


def run_again(file: Path, *, pdb: bool) -> ExitCode:
    """Make the call; print what it returns, or the traceback of what it raises."""
    try:
        with file.open("rb"):
            pass
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}") from None
    try:
        value = replay(file, pdb=pdb)
    except ReplayError:
        raise
    except Exception:
        traceback.print_exc()
        return ExitCode.FAILED
    sys.stdout.write(f"{value!r}\n")
    return ExitCode.OK
