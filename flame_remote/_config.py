"""What `init()` and the environment say about the engine; an argument wins over the environment.

Environment: FLAME_ENGINE and FLAME_NUM_CPUS, which mean what `engine` and `num_cpus` mean. Without
them FLAME_ENDPOINT asks for the cluster there. How a cluster is reached, once it is asked for, is
for `core.context` to say.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from flame_remote._environment import Environment, checked_environment
from flame_remote._gpus import named_gpus, visible_gpus
from flame_remote._option_checks import amount, byte_count, resource_amounts, whole_number
from flame_remote._options import nearest
from flame_remote.exceptions import InvalidOptionError

ENGINES: Final = {
    "embedded": "embedded",
    "local": "embedded",
    "inline": "inline",
    "flame": "flame",
}
# What a cluster's address may begin with, and what its endpoint then begins with.
_CLUSTERS: Final = {"flame": "http", "flames": "https"}
_UNLIMITED_BYTES: Final = 1 << 60  # version 1 of control groups writes no limit as a large number
_STORE_SHARE: Final = 0.3  # the rest is for the user's own values, in the driver and the workers


@dataclass(frozen=True, slots=True)
class Config:
    """What an engine is started with.

    `engine` is "embedded", "inline" or "flame". `endpoint` is that of a cluster, None for what the
    environment and ~/.flame/flame.yaml say. `resources` are the user's own resources by name.
    `store_bytes` is how much memory stored values may take. `timeline` is whether to note when
    calls run. `memory_bytes` is how much calls may ask for in all, `gpus` are the names of the GPUs
    that they may ask for, `environment` is what all calls find around them.
    """

    engine: str
    num_cpus: int
    num_gpus: float
    store_bytes: int
    resources: Mapping[str, float] = field(default_factory=dict)
    endpoint: str | None = None
    timeline: bool = False
    memory_bytes: int = 0
    gpus: tuple[str, ...] = ()
    environment: Environment | None = None

    def amounts(self) -> dict[str, float]:
        """Return all resources by name, as `Engine.resources` gives them."""
        own = {"CPU": self.num_cpus, "GPU": self.num_gpus, "memory": self.memory_bytes}
        amounts = {**{name: float(amount) for name, amount in own.items()}, **self.resources}
        return {name: amount for name, amount in amounts.items() if amount}


def load_config(
    engine: str | None = None,
    *,
    num_cpus: int | None = None,
    num_gpus: float | None = None,
    resources: Mapping[str, float] | None = None,
    store_bytes: int | None = None,
    timeline: bool | None = None,
    memory: int | str | None = None,
    runtime_env: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Config:
    """Settle every setting: the argument, else the environment, else the default.

    Raises:
        InvalidOptionError: a setting is out of range, or an engine of that name does not exist.
        TypeError: a setting is of the wrong type.
    """
    if engine is None:
        default = "flame" if environment.get("FLAME_ENDPOINT") else "embedded"
        engine = environment.get("FLAME_ENGINE") or default
    if num_cpus is None:
        given = environment.get("FLAME_NUM_CPUS")
        num_cpus = _parsed_cpus(given) if given else usable_cpus()
    name, endpoint = _engine_named(engine)
    visible = visible_gpus(environment)
    num_gpus = amount("num_gpus", len(visible) if num_gpus is None else num_gpus)
    around = checked_environment("runtime_env", runtime_env)
    if around is not None:
        if name == "flame":
            raise InvalidOptionError(
                "runtime_env needs an engine on this machine: on a Flame cluster the environment "
                "belongs to the application, see Runner"
            )
        around.check("init()")
    return Config(
        engine=name,
        num_cpus=whole_number("num_cpus", num_cpus, at_least=1),
        num_gpus=num_gpus,
        store_bytes=whole_number(
            "store_bytes",
            int(available_memory_bytes() * _STORE_SHARE) if store_bytes is None else store_bytes,
            at_least=1,
        ),
        resources=dict(resource_amounts(resources or {})),
        endpoint=endpoint,
        timeline=_timeline_wanted(timeline, environment),
        memory_bytes=total_memory_bytes() if memory is None else byte_count("memory", memory),
        gpus=tuple(named_gpus(num_gpus, environment)),
        environment=around,
    )


def _engine_named(name: object) -> tuple[str, str | None]:
    """Return the engine that is asked for, and the endpoint of a cluster if its address is."""
    if not isinstance(name, str):
        raise TypeError(f"engine must be a name, e.g. 'inline', not {type(name).__name__}")
    if name in ENGINES:
        return ENGINES[name], None
    possible = "possible engines: " + ", ".join(repr(engine) for engine in ENGINES)
    scheme, mark, place = name.partition("://")
    if mark:
        if scheme in _CLUSTERS and place:
            return "flame", f"{_CLUSTERS[scheme]}://{place}"
        raise InvalidOptionError(
            f"cannot connect to {name!r}: the address of a Flame cluster is 'flame://host:port', "
            f"or 'flames://host:port' with TLS; {possible}"
        )
    raise InvalidOptionError(f"there is no engine {name!r}{nearest(name, ENGINES)}; {possible}")


def _timeline_wanted(given: object, environment: Mapping[str, str]) -> bool:
    if given is None:
        return environment.get("FLAME_TIMELINE", "") not in ("", "0")
    if not isinstance(given, bool):
        raise TypeError(f"timeline must be True or False, not {type(given).__name__} ({given!r})")
    return given


def _parsed_cpus(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InvalidOptionError(
            f"FLAME_NUM_CPUS must be a whole number, 1 or more, not {text!r}"
        ) from None


# --- what this machine lets the process use -------------------------------------------------------


def usable_cpus() -> int:
    """Return how many CPUs this process may use: its affinity, within its control groups' quota."""
    try:
        cpus = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        cpus = os.cpu_count() or 1
    quota = _cpu_quota("/")
    return cpus if quota is None else max(1, min(cpus, math.ceil(quota)))


def total_memory_bytes() -> int:
    """Return how much memory this process may ever have: the machine's, or its groups' limit."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = memory_limit_bytes()
    return physical if limit is None else min(physical, limit)


def available_memory_bytes() -> int:
    """Return how much memory is free for new use, here and within the control groups' limit."""
    free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for line in _lines("/proc/meminfo"):  # not there on macOS: the physical memory must do
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) * 1024
    limit = _memory_headroom("/")
    return free if limit is None else max(1, min(free, limit))


def memory_limit_bytes(root: str = "/") -> int | None:
    """Return the tightest memory limit of this process's control groups, None for no limit."""
    limits = []
    for folder in _group_folders(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            match _read_numbers(folder, name):
                case [int() as limit] if limit < _UNLIMITED_BYTES:
                    limits.append(limit)
    return min(limits, default=None)


def count_oom_kills(root: str = "/") -> int:
    """Return how many processes of this process's control group were ended for want of memory."""
    for folder in _group_folders(root, "memory"):
        for name in ("memory.events", "memory.oom_control"):
            for line in _lines(os.path.join(folder, name)):
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    return 0


def _lines(file: str) -> list[str]:
    """Read a file's lines; none if it is not there."""
    try:
        with open(file) as lines:
            return lines.read().splitlines()
    except OSError:
        return []


def _group_folders(root: str, controller: str) -> list[str]:
    """List the folders of the control groups that bind this process, innermost first.

    /proc/self/cgroup has a line `0::/path` for version 2, `n:controllers:/path` for version 1.
    Inside a container the path may be the host's, which is not mounted: then only the top exists.
    """
    folders = []
    for line in _lines(os.path.join(root, "proc/self/cgroup")):
        _, controllers, path = line.split(":", 2)
        if not controllers:
            top = os.path.join(root, "sys/fs/cgroup")
        elif controller in controllers.split(","):
            top = os.path.join(root, "sys/fs/cgroup", controller)
        else:
            continue
        parts = [part for part in path.split("/") if part not in ("", "..")]
        folders += [os.path.join(top, *parts[:depth]) for depth in range(len(parts), -1, -1)]
    return folders


def _read_numbers(*path: str) -> list[int | None]:
    """Read the numbers of a control file, None for "max"; nothing if the file is not there."""
    words = " ".join(_lines(os.path.join(*path))).split()
    return [None if word == "max" else int(word) for word in words]


def _cpu_quota(root: str) -> float | None:
    """Return the smallest quota in CPUs of all groups of this process, None for no limit."""
    quotas = []
    for folder in _group_folders(root, "cpu"):
        numbers = _read_numbers(folder, "cpu.max") or [
            *_read_numbers(folder, "cpu.cfs_quota_us"),
            *_read_numbers(folder, "cpu.cfs_period_us"),
        ]
        match numbers:
            case [int() as quota, int() as period] if quota > 0 and period > 0:
                quotas.append(quota / period)
    return min(quotas, default=None)


def _memory_headroom(root: str) -> int | None:
    """Return the bytes left under the tightest memory limit, None for no limit."""
    left = []
    for folder in _group_folders(root, "memory"):
        for limit_name, usage_name in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            match [*_read_numbers(folder, limit_name), *_read_numbers(folder, usage_name)]:
                case [int() as limit, int() as usage]:
                    left.append(limit - usage)
    return min(left, default=None)
