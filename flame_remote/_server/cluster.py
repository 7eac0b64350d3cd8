"""The detached local cluster that each user can have: start it, find it, end it.

It is recorded in a private folder (`runtime_folder`). A cluster that belongs to this process is
made by `start`.
"""

from __future__ import annotations

import json
import os
import select
import signal
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from flame_remote.exceptions import FlameError

from .owners import is_alive
from .starting import (
    END_SECONDS,
    ClusterConfig,
    ClusterInfo,
    ClusterStartError,
    RunningCluster,
    launch,
    logs_in,
    start,
)

__all__ = [
    "ClusterConfig",
    "ClusterInfo",
    "ClusterStartError",
    "ClusterStopError",
    "RunningCluster",
    "down",
    "log_paths",
    "runtime_folder",
    "start",
    "status",
    "up",
]


class ClusterStopError(FlameError):
    """A local cluster does not end, or is not ours to end."""


def up(config: ClusterConfig) -> ClusterInfo:
    """Start the user's detached cluster. Blocks until it serves.

    Args:
        config: how.

    Returns:
        Where it is.

    Raises:
        ClusterStartError: it could not be started, or one is running.
    """
    if (running := status()) is not None:
        raise ClusterStartError(
            f"a cluster is running at {running.endpoint} (pid {running.pid}); "
            "end it first with `flame-remote down`"
        )
    started = launch(config, [], None, detached=True)
    started.process.returncode = 0  # it outlives us, and is nobody's child to wait for
    record = {
        "endpoint": started.info.endpoint,
        "cache_endpoint": started.info.cache_endpoint,
        "pid": started.info.pid,
        "data": str(started.info.data),
        "started": started.info.started,
    }
    path = _record_path()
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(record))
    temporary.replace(path)
    return started.info


def status() -> ClusterInfo | None:
    """Return the user's detached cluster, None if none is running."""
    try:
        record = json.loads(_record_path().read_text())
        info = ClusterInfo(**{**record, "data": Path(record["data"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return info if is_alive(info.pid, info.started) else None


def down(timeout: float = END_SECONDS) -> ClusterInfo | None:
    """End the user's detached cluster. Blocks until it has ended.

    Args:
        timeout: seconds until it is killed.

    Returns:
        The cluster that was ended, None if none was running.

    Raises:
        ClusterStopError: it belongs to somebody else, or cannot be killed.
    """
    info = status()
    if info is None:
        return None
    for number, seconds in ((signal.SIGTERM, timeout), (signal.SIGKILL, 5.0)):
        if _end(info, number, seconds):
            _record_path().unlink(missing_ok=True)
            return info
    raise ClusterStopError(f"the session manager (pid {info.pid}) does not end")


def log_paths() -> list[Path]:
    """Return the log files of the running cluster, or of the last one if none is running."""
    try:
        record = json.loads(_record_path().read_text())
        return logs_in(Path(record["data"]))
    except (OSError, ValueError, KeyError, TypeError):
        return logs_in(ClusterConfig().data_folder())


def runtime_folder() -> Path:
    """Return the private folder with the record of the user's cluster; make it if need be.

    Raises:
        ClusterStartError: somebody else has made a folder of that name.
    """
    base = os.environ.get("XDG_RUNTIME_DIR")
    if base and os.access(base, os.W_OK):
        folder = Path(base) / "flame-remote"
    else:
        folder = Path(tempfile.gettempdir()) / f"flame-remote-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.stat(follow_symlinks=False)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ClusterStartError(
            f"{folder} is not a private folder of this user; remove it, or set XDG_RUNTIME_DIR"
        )
    return folder


def _record_path() -> Path:
    return runtime_folder() / "cluster.json"


def _end(info: ClusterInfo, number: signal.Signals, seconds: float) -> bool:
    """Signal the session manager; say whether it has ended in time."""
    try:
        descriptor = os.pidfd_open(info.pid)
    except ProcessLookupError:
        return True
    try:
        if not is_alive(info.pid, info.started):  # the pid is somebody else's by now
            return True
        signal.pidfd_send_signal(descriptor, number)
        ready, _, _ = select.select([descriptor], [], [], seconds)
        with suppress(ChildProcessError):  # this process itself may have started it
            os.waitpid(info.pid, os.WNOHANG)
        return bool(ready)
    except PermissionError as error:
        raise ClusterStopError(f"the session manager (pid {info.pid}) is not ours") from error
    finally:
        os.close(descriptor)
