"""The first moments of a worker, after the fork."""

from __future__ import annotations

import atexit
import faulthandler
import gc
import mmap
import os
import signal
import socket
import sys
import types
from contextlib import suppress
from typing import Any

from flame_remote import _current
from flame_remote._environment import Environment
from flame_remote._gpus import VARIABLE

from .control import Control
from .journal import Journal
from .link import Link
from .nested import WorkerEngine
from .output import TaskOutput
from .progress import word_and_journal
from .spawner import MARKER
from .worker import Worker


def start_worker(
    request: dict[str, Any],
    descriptors: list[int],
    progress: mmap.mmap,
    config: dict[str, Any],
) -> int:
    """Turn this process into a worker and serve; return its exit status.

    `request` and `config` are what the driver has said of this worker, and of all of them; see
    docs/formats.md.
    """
    worker_id: int = request["worker"]
    channel_fd, control_fd, output_fd, error_fd, last_words_fd = descriptors
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output_fd, 1)
    os.close(output_fd)
    os.close(error_fd)
    faulthandler.enable(last_words_fd)  # the driver reads it if this process crashes
    os.environ[MARKER] = str(worker_id)
    sys.path[:] = config["path"]
    if config["cwd"]:
        with suppress(OSError):  # the folder is gone; the driver is no better off
            os.chdir(config["cwd"])
    environment = _put_on(request)
    # The user's __main__ is not here, and the spawner's must not be taken for it.
    sys.modules["__main__"] = types.ModuleType("__main__")
    last_started, journal = word_and_journal(progress, request["word"])
    link = Link(socket.socket(fileno=channel_fd), Journal(journal))
    worker = Worker(worker_id, link, last_started)
    if environment is not None:
        worker.path_first = environment.path()
        worker.folder_to_enter = environment.folder
    engine = WorkerEngine(config["session"], worker, config["resources"])
    engine.environment = environment
    engine.gpus = tuple(request["gpus"])
    _current.set_current(engine)
    outputs = _replace_output(engine)
    engine.runner.write_to(outputs)
    worker.shelter.watch_signals()
    Control(worker, socket.socket(fileno=control_fd)).start()
    worker.serve()
    engine.runner.close()
    gc.collect()
    atexit._run_exitfuncs()
    for output in outputs:
        output.end_task()
    return 0


def _put_on(request: dict[str, Any]) -> Environment | None:
    """Let this process have the environment and see the GPUs that it was started for.

    Before any code of the user's runs, and for good. Its folder is entered later: by who can say
    that it is gone.
    """
    environment = None
    if request["environment"] is not None:
        variables, folder, modules = request["environment"]
        environment = Environment(tuple((n, v) for n, v in variables), folder, tuple(modules))
        os.environ.update(environment.variables)
        sys.path[:0] = environment.path()
    if request["gpus"]:
        os.environ[VARIABLE] = ",".join(request["gpus"])
    return environment


def _replace_output(engine: WorkerEngine) -> tuple[TaskOutput, ...]:
    """Make sys.stdout and sys.stderr say which task wrote a line."""

    def prefix() -> str:
        name = engine.runner.current_name()
        return f"({name} pid={os.getpid()}) " if name else f"(pid={os.getpid()}) "

    outputs = TaskOutput(1, prefix), TaskOutput(2, prefix)
    sys.stdout, sys.stderr = outputs
    return outputs
