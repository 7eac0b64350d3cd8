"""Calls that failed, saved in files and made again here."""

from __future__ import annotations

import os
import sys
from typing import Any

from flame_remote._session import ensure_engine


def save_failed_calls(folder: str | os.PathLike[str] | None) -> None:
    """From now on, write each call that fails into a file of its own, for `replay`.

    The file has the call's code and its arguments, whatever their size, so that the call can be
    made again later and elsewhere. Calls whose process died are among them, calls that were
    cancelled or lacked an argument are not. At most 100 of a session.

    Args:
        folder: where the files go, made if need be; they are called after the function and the
            task, e.g. "train-4711-12.flame". None ends it.

    Raises:
        OSError: the folder cannot be made.
        EngineError: the engine is on a cluster, or this is a task.
    """
    if folder is not None:
        os.makedirs(folder, exist_ok=True)
        folder = os.path.abspath(folder)
    ensure_engine().save_failed_calls(folder)


def replay(path: str | os.PathLike[str], *, pdb: bool = False) -> Any:
    """Make a saved call again, here and now, in this thread.

    A method is called on an instance that is constructed anew, as it was the first time: what had
    happened to it since is not in the file. The file is a pickle: replay only what you trust.

    Args:
        path: a file that `save_failed_calls` has written.
        pdb: open Python's debugger where the exception is raised, before it is raised here.

    Returns:
        What the call returns, if it succeeds this time.

    Raises:
        ReplayError: the file is none, or its code or arguments cannot be rebuilt here.
        OSError: the file cannot be read.
        Exception: whatever the call raises.
    """
    from flame_remote._execute.bundle import Bundle, call_again

    name = os.fspath(path)
    bundle = Bundle.read(name)
    try:
        return call_again(bundle, name)
    except BaseException as error:
        if pdb and not isinstance(error, (SystemExit, KeyboardInterrupt)):
            import pdb as debugger

            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            debugger.post_mortem(error.__traceback__)
        raise
