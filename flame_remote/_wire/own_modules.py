"""The modules that only the user has: what they define travels by value to workers elsewhere.

A worker on this machine imports what the program imports. One of a cluster has the standard
library and what is installed there, but not the files that the program lies in. While an engine of
that kind is running, functions and classes of such files are sent as code.
"""

from __future__ import annotations

import sys
import threading
from functools import lru_cache
from types import FunctionType, ModuleType
from typing import Any, Final

_INSTALLED: Final = ("site-packages", "dist-packages")
_PACKAGE: Final = __name__.partition(".")[0]

# Written under _lock; `by_value` is read at any time.
_lock = threading.Lock()
_users = 0  # engines that ask for it
_registered: set[str] = set()  # with cloudpickle
by_value = False


def send_by_value() -> None:
    """From now on, send what users' modules define by value; until send_by_name() is called."""
    global _users, by_value
    with _lock:
        _users += 1
        by_value = True


def send_by_name() -> None:
    """Take back one send_by_value()."""
    global _users, by_value
    with _lock:
        _users -= 1
        by_value = _users > 0
        if not by_value:
            for name in _registered:
                _unregister(name)
            _registered.clear()


def travels_by_value(module_name: object) -> bool:
    """Say whether what a module of that name defines must be sent as code."""
    return by_value and isinstance(module_name, str) and _is_own(module_name)


def is_code_to_send(value: Any) -> bool:
    """Say whether a value is a function, class or module that must be sent as code."""
    if isinstance(value, (FunctionType, type)):
        return travels_by_value(value.__module__)
    return isinstance(value, ModuleType) and travels_by_value(value.__name__)


def register(value: Any) -> None:
    """Have cloudpickle send a function, class or module as code, with what it uses."""
    name = value.__name__ if isinstance(value, ModuleType) else value.__module__
    if name in _registered:
        return
    import cloudpickle

    with _lock:
        if name not in _registered and name in sys.modules:
            cloudpickle.register_pickle_by_value(sys.modules[name])
            _registered.add(name)


def _unregister(name: str) -> None:
    import cloudpickle

    if name in sys.modules:
        cloudpickle.unregister_pickle_by_value(sys.modules[name])


@lru_cache(maxsize=4096)
def _is_own(module_name: str) -> bool:
    """Say whether a module lies neither in the standard library nor where packages are installed.

    What has no file is built in, or was made by hand and is for the pickler to judge.
    """
    if module_name.partition(".")[0] == _PACKAGE:
        return False
    file = getattr(sys.modules.get(module_name), "__file__", None)
    if not file:
        return False
    from pathlib import Path  # with the next one 5 ms that only an engine on a cluster need spend

    path = Path(file)
    if any(part in _INSTALLED for part in path.parts):
        return False
    return not any(path.is_relative_to(folder) for folder in _folders_of_python())


@lru_cache(maxsize=1)
def _folders_of_python() -> tuple[str, ...]:
    import sysconfig

    return tuple({sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")})
