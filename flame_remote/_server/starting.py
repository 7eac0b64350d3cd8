"""Starting a local cluster: how, and what is known of it then."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from flame_remote.exceptions import FlameError

from .owners import start_time_of

PACKAGE_PARENT: Final = str(Path(__file__).resolve().parent.parent.parent)
START_SECONDS: Final = 60.0
END_SECONDS: Final = 15.0


class ClusterStartError(FlameError):
    """A local cluster could not be started; the text says why."""


@dataclass(frozen=True)
class ClusterConfig:
    """How a local cluster is started.

    Args:
        data: folder of everything that outlives a restart; None for the user's own,
            `~/.local/share/flame-remote` (or below XDG_DATA_HOME).
        host: address of both servers. Anything but loopback needs `token_file`, `tls_cert` and
            `tls_key`.
        port: of the session manager; 0 picks a free one.
        cache_port: of the object cache; 0 picks a free one.
        python: interpreter of instances; None for the one that runs this program.
        instances: how many processes sessions may grow to, all together; None for twice the CPUs,
            and at least 4.
        bind_attempts: failed starts in a row after which a session's tasks fail.
        warm: whether a worker is prepared before the first is needed, which takes a second of CPU
            time; else it is prepared when the first one is.
        token_file: file with the token that clients must send.
        tls_cert, tls_key: certificate chain and key of both servers, PEM.
        tls_ca: certificate of the authority, told to instances.
    """

    data: Path | None = None
    host: str = "127.0.0.1"
    port: int = 8080
    cache_port: int = 9090
    python: str | None = None
    instances: int | None = None
    bind_attempts: int | None = None
    warm: bool = True
    token_file: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_ca: Path | None = None

    def data_folder(self) -> Path:
        """Return where the cluster keeps its data."""
        if self.data is not None:
            return self.data.absolute()
        base = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
        return Path(base) / "flame-remote"

    def arguments(self) -> list[str]:
        """Return the command line of the session manager, without what the caller adds."""
        options: dict[str, object] = {
            "--data": self.data_folder(),
            "--host": self.host,
            "--port": self.port,
            "--cache-port": self.cache_port,
            "--python": self.python or sys.executable,
            "--instances": self.instances,
            "--bind-attempts": self.bind_attempts,
            "--token-file": self.token_file,
            "--tls-cert": self.tls_cert,
            "--tls-key": self.tls_key,
            "--tls-ca": self.tls_ca,
        }
        given = {option: str(value) for option, value in options.items() if value is not None}
        words = [word for pair in given.items() for word in pair]
        return [*words, "--warm"] if self.warm else words


@dataclass(frozen=True)
class ClusterInfo:
    """A cluster that runs.

    Args:
        endpoint: URL of the session manager.
        cache_endpoint: URL of the object cache.
        pid: of the session manager.
        data: folder of its data.
        started: when its process was started, in the kernel's own count (see `owners`).
    """

    endpoint: str
    cache_endpoint: str
    pid: int
    data: Path
    started: str

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which Flame's clients find it."""
        return {"FLAME_ENDPOINT": self.endpoint, "FLAME_CACHE_ENDPOINT": self.cache_endpoint}

    @property
    def logs(self) -> list[Path]:
        """The log files that there are: of the servers first, then of instances, by name."""
        return logs_in(self.data)


@dataclass
class RunningCluster:
    """A cluster that was started by this process."""

    info: ClusterInfo
    process: subprocess.Popen[bytes] = field(repr=False)

    def close(self) -> None:
        """End it and wait until it has ended. May be called twice."""
        if self.process.poll() is None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(END_SECONDS)
        self.kill()

    def kill(self) -> None:
        """End it as a crash would, and wait until the session manager is gone."""
        self.process.kill()
        self.process.wait()


def start(
    config: ClusterConfig,
    *,
    environment: Mapping[str, str] | None = None,
    remove_data: bool = False,
) -> RunningCluster:
    """Start a cluster that ends when this process does. Blocks until it serves.

    Args:
        config: how.
        remove_data: whether it removes its data if this process ends before it.
        environment: what the cluster and its instances inherit; None for this process's own.

    Returns:
        The cluster; the caller closes it.

    Raises:
        ClusterStartError: it could not be started.
    """
    more = ["--end-with", str(os.getpid())] + (["--remove-data"] if remove_data else [])
    return launch(config, more, environment, detached=False)


def logs_in(data: Path) -> list[Path]:
    logs = data / "logs"
    servers = [logs / f"{name}.log" for name in ("session-manager", "object-cache", "zygote")]
    instances = sorted((logs / "instances").glob("*.*"))
    return [path for path in (*servers, *instances) if path.exists()]


def launch(
    config: ClusterConfig,
    more: list[str],
    environment: Mapping[str, str] | None,
    *,
    detached: bool,
) -> RunningCluster:
    """Start a session manager, with `more` options, and wait until it serves.

    Raises ClusterStartError.
    """
    data = config.data_folder()
    log_path = data / "logs" / "session-manager.log"
    ready, theirs = os.pipe()
    try:
        log_path.parent.mkdir(parents=True, exist_ok=True)
        log_start = log_path.stat().st_size if log_path.exists() else 0
        code = (
            f"import sys; sys.path.insert(0, {PACKAGE_PARENT!r}); "
            "from flame_remote._server.session_manager import main; sys.exit(main())"
        )
        arguments = [*config.arguments(), "--ready-fd", str(theirs), *more]
        with open(log_path, "ab") as log_file:
            process = subprocess.Popen(
                [sys.executable, "-c", code, *arguments],
                pass_fds=[theirs],
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=log_file,
                cwd="/" if detached else None,
                env=None if environment is None else dict(environment),
                start_new_session=True,
            )
    except OSError as error:
        os.close(ready)
        raise ClusterStartError(f"cannot start a local cluster: {error}") from error
    finally:
        os.close(theirs)
    answer = _read_answer(ready)
    if "endpoint" not in answer:
        process.kill()
        process.wait()
        raise ClusterStartError(
            "cannot start a local cluster: "
            + (str(answer.get("error", "")) or _tail(log_path, log_start))
        )
    info = ClusterInfo(
        *(str(answer["endpoint"]), str(answer["cache_endpoint"]), process.pid, data),
        started=start_time_of(process.pid) or "",
    )
    return RunningCluster(info, process)


def _read_answer(descriptor: int) -> dict[str, object]:
    """Read the line that the session manager writes when it serves, or cannot; {} for none."""
    deadline = time.monotonic() + START_SECONDS
    data = b""
    try:
        while not data.endswith(b"\n"):
            remaining = max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select([descriptor], [], [], remaining)
            chunk = os.read(descriptor, 65536) if ready else b""
            if not chunk:
                return {} if ready else {"error": f"nothing serves after {START_SECONDS:g} s"}
            data += chunk
    finally:
        os.close(descriptor)
    answer: dict[str, object] = json.loads(data)
    return answer


def _tail(path: Path, start: int) -> str:
    with open(path, "rb") as file:
        file.seek(start)
        text = file.read()[-2000:].decode(errors="replace").strip()
    return f"it ended at once; the end of {path}:\n{text}"
