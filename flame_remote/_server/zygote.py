"""A spawner that has the runner's worker imported already, and forks it instead of starting it.

Run by the interpreter of instances. A forked instance has not entered any session; it differs from
a started one in nothing but the time that its imports take. It has one thread of Python; those of
libraries (a memory allocator's, a linear algebra library's) are made anew by them in the child.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import runpy
import signal
import socket
import sys
import traceback
from typing import Any, Final, NoReturn

from flame_remote._local._linux import die_with_parent

from .bootstrap import OUR_WORKER, PACKAGE_PARENT, STOCK_WORKER
from .spawner import Spawner, main

# What workers load on their first call at the latest.
_OURS: Final = (OUR_WORKER, "flame_remote.core.payload", "pyarrow.flight", "bson")
_MADE_BY_US: Final = "flame_remote"


class Zygote(Spawner):
    """Forks instances of one module."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(connection)
        has_flamepy = importlib.util.find_spec("flamepy") is not None
        self._module = STOCK_WORKER if has_flamepy else OUR_WORKER
        for module in (STOCK_WORKER,) if has_flamepy else _OURS:
            importlib.import_module(module)
        if has_flamepy:
            # Nothing of ours is in a stock worker: a package may bring its own flame_remote.
            for name in [n for n in sys.modules if n.partition(".")[0] == _MADE_BY_US]:
                del sys.modules[name]
        gc.freeze()  # a worker's collector need not look at, and so copy, what all of them share
        self.announce({"loaded": _loaded()})

    def launch(self, request: dict[str, Any], out: int, err: int) -> int:
        """Fork an instance; return its pid."""
        me = os.getpid()
        # A signal must not come before the child has its own handlers; the parent's are lost then.
        signals = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        pid = os.fork()
        if pid:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            return pid
        try:
            die_with_parent(me)
            signal.set_wakeup_fd(-1)
            for number in (*signals, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            for descriptor in self.descriptors:
                os.close(descriptor)
            self._become(request, out, err)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)

    def _become(self, request: dict[str, Any], out: int, err: int) -> NoReturn:
        """Be what `python -m` would be with this environment. Called in the child."""
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDONLY)
        for ours, theirs in ((nothing, 0), (out, 1), (err, 2)):
            os.dup2(ours, theirs)
        os.closerange(3, max(nothing, out, err) + 1)
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["env"])
        path = request["env"].get("PYTHONPATH", "")
        # In place of what our own command line has put there.
        sys.path[:2] = [request["cwd"], *(part for part in path.split(os.pathsep) if part)]
        if self._module == OUR_WORKER and PACKAGE_PARENT not in sys.path:
            sys.path.append(PACKAGE_PARENT)  # the cluster runs from a source tree
        if "numpy.random" in sys.modules:  # all instances would draw the same numbers
            sys.modules["numpy.random"].seed()
        sys.argv = [self._module]
        if self._module == OUR_WORKER:
            del sys.modules[OUR_WORKER]  # it is run as __main__, which warns of a second one
        try:
            runpy.run_module(self._module, run_name="__main__", alter_sys=True)
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
            if ended.code is not None and not isinstance(ended.code, int):
                print(ended.code, file=sys.stderr)
        except BaseException:
            traceback.print_exc()
            status = 1
        else:
            status = 0
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _loaded() -> list[str]:
    """Return the top-level modules that instances inherit, those of the language left out."""
    names = {name.partition(".")[0] for name in sys.modules}
    return sorted(names - set(sys.stdlib_module_names) - {"__main__"})


def run(descriptor: int) -> None:
    """Run a zygote on an inherited socket. Called by the session manager's command line."""
    main(descriptor, Zygote)
