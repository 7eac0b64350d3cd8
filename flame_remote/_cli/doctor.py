"""`flame-remote doctor`: whether this machine has what flame_remote needs, one check per line."""

from __future__ import annotations

import mmap
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import Enum
from importlib import metadata
from typing import Final

from flame_remote._config import available_memory_bytes, usable_cpus
from flame_remote._gpus import visible_gpus
from flame_remote.exceptions import ClusterError, ConnectError

from . import colour, words
from .ending import ExitCode
from .settings import Settings

OLDEST: Final = (3, 10)
NEWEST: Final = (3, 14)
NAME_COLUMNS: Final = 17
FEW_FILES: Final = 1024  # each worker takes a handful of descriptors, each connection one
LITTLE_MEMORY: Final = 256 << 20
NEEDED: Final = (
    "cloudpickle",
    "grpcio",
    "protobuf",
    "pyyaml",
    "wrapt",
    "click",
    "psutil",
    "pathspec",
)
FOR_CLUSTERS: Final = ("pyarrow", "pymongo")


class State(Enum):
    """What a check found."""

    OK = "ok"
    NOTE = "note"  # works, but not all of it, or not well
    PROBLEM = "problem"


_COLOURS: Final = {State.OK: "green", State.NOTE: "yellow", State.PROBLEM: "red"}


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    name: str
    state: State
    text: str


def examine(settings: Settings) -> Iterator[Finding]:
    """Yield a finding per check. Takes up to some seconds, where a cluster does not answer."""
    for check in _CHECKS:
        name = check.__name__.strip("_").replace("_", " ")
        try:
            state, text = check(settings)
        except Exception as error:  # whatever it is, it is what the doctor is asked for
            state, text = State.PROBLEM, f"{type(error).__name__}: {error}"
        yield Finding(name, state, text)


def report(settings: Settings) -> ExitCode:
    """Write all findings to standard output; return FAILED if one is a problem."""
    found = []
    wanted = colour.is_wanted(sys.stdout)
    for finding in examine(settings):
        found.append(finding)
        if not settings.json:
            mark = colour.coloured(f"{finding.state.value:<8}", _COLOURS[finding.state], wanted)
            print(
                f"{mark} {finding.name:<{NAME_COLUMNS}}{words.printable(finding.text)}", flush=True
            )
    healthy = all(finding.state is not State.PROBLEM for finding in found)
    if settings.json:
        checks = [{**asdict(finding), "state": finding.state.value} for finding in found]
        settings.show({"ok": healthy, "checks": checks}, str)
    return ExitCode.OK if healthy else ExitCode.FAILED


def _python(_: Settings) -> tuple[State, str]:
    text = f"{platform.python_version()}, {sys.executable}"
    if sys.version_info[:2] < OLDEST:
        return State.PROBLEM, f"{text}; needs {OLDEST[0]}.{OLDEST[1]} or newer"
    if sys.version_info[:2] > NEWEST:
        return State.NOTE, f"{text}; tested up to {NEWEST[0]}.{NEWEST[1]}"
    return State.OK, text


def _system(_: Settings) -> tuple[State, str]:
    text = f"{platform.system()} {platform.release()}, {platform.machine()}"
    if sys.platform != "linux":
        return State.PROBLEM, f"{text}; the embedded engine needs Linux"
    return State.OK, text


def _packages(_: Settings) -> tuple[State, str]:
    versions = {name: _version(name) for name in (*NEEDED, *FOR_CLUSTERS)}
    missing = [name for name, version in versions.items() if version is None]
    text = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    if any(name in NEEDED for name in missing):
        return State.PROBLEM, f"missing: {', '.join(missing)}; pip install {' '.join(missing)}"
    if missing:
        return State.NOTE, f"{text}; for clusters also: pip install {' '.join(missing)}"
    return State.OK, text


def _flamepy(_: Settings) -> tuple[State, str]:
    version = _version("flamepy")
    return State.OK, f"{version} is installed" if version else "not installed, and not needed"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpus(_: Settings) -> tuple[State, str]:
    text = f"{usable_cpus()} usable of {os.cpu_count()}"
    gpus = len(visible_gpus())
    return State.OK, f"{text}, {gpus} GPUs" if gpus else text


def _memory(_: Settings) -> tuple[State, str]:
    free = available_memory_bytes()
    state = State.NOTE if free < LITTLE_MEMORY else State.OK
    return state, f"{words.memory(free)} free for new use, within the limits of control groups"


def _shared_memory(_: Settings) -> tuple[State, str]:
    if not hasattr(os, "memfd_create"):
        return State.PROBLEM, "this system has no memfd_create"
    descriptor = os.memfd_create("flame-remote-doctor")
    try:
        os.ftruncate(descriptor, mmap.PAGESIZE)
        with mmap.mmap(descriptor, mmap.PAGESIZE) as mapping:
            mapping[:2] = b"ok"
    finally:
        os.close(descriptor)
    return State.OK, "anonymous files (memfd) work; /dev/shm is not used"


def _process_watch(_: Settings) -> tuple[State, str]:
    if not hasattr(os, "pidfd_open"):
        return State.PROBLEM, "this system has no pidfd_open (Linux 5.3 or newer)"
    os.close(os.pidfd_open(os.getpid()))
    return State.OK, "pidfd works"


def _open_files(_: Settings) -> tuple[State, str]:
    import resource

    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit != resource.RLIM_INFINITY and limit < FEW_FILES:
        return State.NOTE, f"at most {limit}; raise it with `ulimit -n` (up to {most})"
    return State.OK, "no limit" if limit == resource.RLIM_INFINITY else f"at most {limit}"


def _embedded_engine(_: Settings) -> tuple[State, str]:
    import flame_remote as flame

    began = time.monotonic()
    with flame.init("embedded", num_cpus=1):
        flame.get(flame.remote(_answer).remote(), timeout=20)
    return State.OK, f"first result after {time.monotonic() - began:.2f} s"


def _answer() -> int:
    return 42


def _cluster(settings: Settings) -> tuple[State, str]:
    from flame_remote._proto import frontend_pb2

    try:
        cluster = settings.cluster()
    except ClusterError as error:  # the configuration
        return State.PROBLEM, str(error)
    endpoint, origin = cluster.context.endpoint, cluster.context.origin("endpoint")
    try:
        nodes = cluster.call("ListNodes", frontend_pb2.ListNodesRequest()).nodes
    except ConnectError as error:
        if origin == "default":
            return State.OK, f"none runs at {endpoint}, and none is configured"
        return State.PROBLEM, str(error)
    except ClusterError as error:
        return State.PROBLEM, f"{endpoint} (from {origin}): {error}"
    return State.OK, f"{len(nodes)} node{'s' * (len(nodes) != 1)} at {endpoint} (from {origin})"


_CHECKS: Final[tuple[Callable[[Settings], tuple[State, str]], ...]] = (
    _python,
    _system,
    _packages,
    _flamepy,
    _cpus,
    _memory,
    _shared_memory,
    _process_watch,
    _open_files,
    _embedded_engine,
    _cluster,
)
