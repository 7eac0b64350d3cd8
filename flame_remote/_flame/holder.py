"""The object that a stock Flame worker executes for us. Its text travels to the worker.

The worker has nothing of ours installed, so this file imports only what every Python has; it must
be readable by any Python 3.8 or later, in order to say what is wrong with that. It brings in the
package that came along and hands over to it.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
import threading
import zipfile
from typing import Any, cast

MAGIC = b"FLMR"  # begins an output that is the reply itself, not the address of one


class Answer:
    """A reply that stands in the task's output itself, where a worker expects an address."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def encode(self) -> bytes:
        """Return the output; named as a worker asks for it."""
        return MAGIC + self._data

    def __repr__(self) -> str:
        return f"a reply of {len(self._data)} bytes"


class Holder:
    """Runs batches of calls. The package is brought in by the first."""

    def __init__(self, facts: dict[str, Any]) -> None:
        """`facts` are python (major, minor), version, digest and archive of the package, settings,
        and inline_bytes: up to which size a reply may stand in the output.
        """
        self._facts = facts
        self._worker: Any = None
        self._lock = threading.Lock()

    def run(self, packet: tuple[bytes]) -> Any:
        """Run one batch; `packet` is a tuple, so that no worker takes the bytes for an address."""
        with self._lock:
            if self._worker is None:
                self._worker = self._start()
        data = self._worker.run(packet[0])
        if len(data) <= self._facts["inline_bytes"] and _takes_answers(sys._getframe(1).f_globals):
            return Answer(data)
        return data

    def _start(self) -> Any:
        wanted = tuple(self._facts["python"])
        if sys.version_info[:2] != wanted:
            here, there = ("{}.{}".format(*version) for version in (sys.version_info, wanted))
            raise RuntimeError(
                f"flame_remote: this worker runs Python {here} and the program that calls it "
                f"Python {there}; functions travel as bytecode, which needs the same version on "
                f"both sides: run the program with Python {here}, or have the cluster's workers "
                f"use Python {there} (FLAME_PYTHON_VERSION in the application's environment)"
            )
        present = sys.modules.get("flame_remote")  # a local cluster's own workers have one
        if present is not None and present.__version__ != self._facts["version"]:
            for name in [name for name in sys.modules if name.partition(".")[0] == "flame_remote"]:
                del sys.modules[name]  # whoever has imported it goes on with what he has
            present = None
        if present is None:
            folder = _unpacked(self._facts["digest"], self._facts["archive"])
            sys.path.insert(0, os.path.join(folder, "package"))
            sys.path.append(os.path.join(folder, "extras"))  # used where the worker lacks them
        self._facts["archive"] = b""
        try:
            from flame_remote._flame.worker import Worker
        except ImportError as error:
            raise RuntimeError(
                f"flame_remote: this worker cannot run our calls: {type(error).__name__}: {error}"
            ) from error
        return Worker(self._facts["settings"])


def _takes_answers(space: dict[str, Any]) -> bool:
    """Say whether the code that called us will pass an Answer on; see to it where we know how.

    A worker puts what it is given into the object cache, which costs more than most calls. It does
    so through a name in its own module; a worker of another make, which has no such name, is
    left as it is and gets bytes.
    """
    if space.get("TAKES_ANSWERS"):  # says so of itself
        return True
    put = space.get("put_object")
    if getattr(put, "passes_answers", False):
        return True
    if not callable(put) or "result_object_ref" not in _names_used_by(space):
        return False

    def put_object(key_prefix: str, obj: Any) -> Any:
        return obj if type(obj) is Answer else put(key_prefix, obj)

    cast(Any, put_object).passes_answers = True
    space["put_object"] = put_object
    return True


def _names_used_by(space: dict[str, Any]) -> tuple[str, ...]:
    service = space.get("FlameRunpyService")
    invoke = getattr(service, "on_task_invoke", None)
    code = getattr(invoke, "__code__", None)
    return code.co_varnames if code is not None else ()


def _unpacked(digest: str, archive: bytes) -> str:
    """Return the folder with the package in it; unpack it there unless that has been done."""
    home = os.path.join(tempfile.gettempdir(), f"flame-remote-{os.getuid()}")
    os.makedirs(home, mode=0o700, exist_ok=True)
    status = os.lstat(home)
    if status.st_uid != os.getuid() or status.st_mode & 0o022:
        home = tempfile.mkdtemp(prefix="flame-remote-")  # somebody else's: not to be trusted
    folder = os.path.join(home, digest)
    if not os.path.isdir(folder):
        new = tempfile.mkdtemp(dir=home)
        with zipfile.ZipFile(io.BytesIO(archive)) as package:
            package.extractall(new)
        try:
            os.rename(new, folder)
        except OSError:  # another worker was faster
            if not os.path.isdir(folder):
                raise
            import shutil

            shutil.rmtree(new, ignore_errors=True)
    return folder
