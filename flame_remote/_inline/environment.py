"""The environment of a call that runs in the caller's own process: put on, and taken off again."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from flame_remote._environment import Environment


@contextmanager
def put_on(environment: Environment) -> Iterator[None]:
    """Set variables, working folder and sys.path for a while.

    They belong to the whole process: other threads see them, too. What is imported stays imported.
    Raises OSError if the folder is not there.
    """
    before = {name: os.environ.get(name) for name, _ in environment.variables}
    path_before = list(sys.path)
    folder_before = os.getcwd() if environment.folder else ""
    try:
        if environment.folder:
            os.chdir(environment.folder)
        os.environ.update(environment.variables)
        sys.path[:0] = environment.path()
        yield
    finally:
        sys.path[:] = path_before
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if folder_before:
            os.chdir(folder_before)
