"""Names for the kinds of objects that cannot be sent, and what to do instead.

Kinds are known by module and name of their class, so that no module is imported to ask.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_DEFAULT_ADVICE: Final = "create it inside the task, or keep it in an actor"

_NAMES: Final[Mapping[str, str]] = {
    "_thread.lock": "a thread lock",
    "_thread.RLock": "a thread lock",
    "threading._RLock": "a thread lock",
    "_thread._local": "thread-local data",
    "threading.Condition": "a threading.Condition",
    "threading.Event": "a threading.Event",
    "threading.Semaphore": "a threading.Semaphore",
    "threading.Barrier": "a threading.Barrier",
    "threading.Thread": "a thread",
    "queue.Queue": "a queue of threads",
    "_queue.SimpleQueue": "a queue of threads",
    "socket.socket": "a socket",
    "ssl.SSLContext": "an SSL context",
    "_io._IOBase": "an open file",
    "mmap.mmap": "a memory map",
    "builtins.generator": "a generator",
    "builtins.async_generator": "an async generator",
    "builtins.coroutine": "a coroutine",
    "builtins.frame": "a stack frame",
    "builtins.traceback": "a traceback",
    "weakref.ReferenceType": "a weak reference",
    "weakref.WeakKeyDictionary": "a WeakKeyDictionary",
    "weakref.WeakValueDictionary": "a WeakValueDictionary",
    "weakref.WeakSet": "a WeakSet",
    "subprocess.Popen": "a running process",
    "multiprocessing.process.BaseProcess": "a process",
    "multiprocessing.queues.Queue": "a queue of processes",
    "multiprocessing.synchronize.SemLock": "a lock of processes",
    "concurrent.futures._base.Executor": "an executor",
    "concurrent.futures._base.Future": "a future",
    "_asyncio.Future": "a future",
    "asyncio.events.AbstractEventLoop": "an event loop",
    "_contextvars.ContextVar": "a context variable",
    "_contextvars.Context": "a context of context variables",
    "sqlite3.Connection": "a database connection",
    "sqlite3.Cursor": "a database cursor",
    "_ctypes._Pointer": "a ctypes pointer",
    "_ctypes.CFuncPtr": "a ctypes function",
    "ctypes.CDLL": "a library loaded with ctypes",
    "select.epoll": "a selector",
    "selectors.BaseSelector": "a selector",
}

_ADVICE: Final[Mapping[str, str]] = {
    "an open file": "pass its path, and open it inside the task",
    "a memory map": "pass its path, and map it inside the task",
    "a generator": "pass list(...) of it, or generate inside the task",
    "an async generator": "generate inside the task",
    "a coroutine": "await it first and pass the result",
    "a future": "pass its result",
    "a stack frame": "pass what you need of it as text",
    "a traceback": "pass it as text: traceback.format_tb(...)",
    "a weak reference": "pass the object itself",
    "a ctypes pointer": "pass the data it points to",
}


def name_of(value: object) -> str | None:
    """Return what a value is, with its article, if it is of a kind that can never be sent."""
    for cls in type(value).__mro__:
        name = _NAMES.get(f"{cls.__module__}.{cls.__qualname__}")
        if name is not None:
            return name
    kind = type(value)
    if kind.__name__.lower() == "connection":  # of most database drivers
        return "a database connection"
    return None


def advice_for(value: object) -> str:
    """Say what to do instead of sending `value`."""
    return _ADVICE.get(name_of(value) or "", _DEFAULT_ADVICE)
