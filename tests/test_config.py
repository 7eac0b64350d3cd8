"""Settings of the engine: arguments, environment, defaults."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from flame_remote import _config
from flame_remote._config import load_config
from flame_remote.exceptions import InvalidOptionError


def test_defaults_are_the_embedded_engine_with_what_this_process_may_use() -> None:
    config = load_config(environment={})
    assert config.engine == "embedded"
    assert 1 <= config.num_cpus <= len(os.sched_getaffinity(0))
    assert 0 < config.store_bytes < _config.available_memory_bytes()
    assert config.amounts()["CPU"] == config.num_cpus


def test_the_environment_wins_over_the_default_and_an_argument_over_the_environment() -> None:
    environment = {"FLAME_ENGINE": "inline", "FLAME_NUM_CPUS": "7"}
    config = load_config(environment=environment)
    assert (config.engine, config.num_cpus) == ("inline", 7)
    config = load_config("local", num_cpus=3, environment=environment)
    assert (config.engine, config.num_cpus) == ("embedded", 3)


def test_amounts_name_all_resources() -> None:
    config = load_config(
        num_cpus=2, num_gpus=1, memory="1g", resources={"license": 0.5}, environment={}
    )
    assert config.amounts() == {
        "CPU": 2.0,
        "GPU": 1.0,
        "memory": float(1 << 30),
        "license": 0.5,
    }


def test_an_unknown_engine_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InvalidOptionError) as caught:
        load_config("inlin", environment={})
    assert str(caught.value) == (
        "there is no engine 'inlin' (did you mean 'inline'?); "
        "possible engines: 'embedded', 'local', 'inline', 'flame'"
    )


@pytest.mark.parametrize(
    ("address", "endpoint"),
    [("flame://host:8080", "http://host:8080"), ("flames://host", "https://host")],
)
def test_an_address_of_a_cluster_names_the_engine_and_its_endpoint(
    address: str, endpoint: str
) -> None:
    config = load_config(address, environment={})
    assert (config.engine, config.endpoint) == ("flame", endpoint)


def test_another_address_is_refused_and_says_what_is_possible() -> None:
    with pytest.raises(InvalidOptionError, match=r"ray://host:8080.*'flame://host:port'"):
        load_config("ray://host:8080", environment={})


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"num_cpus": 0}, InvalidOptionError),
        ({"num_cpus": 1.5}, TypeError),
        ({"num_gpus": -1}, InvalidOptionError),
        ({"store_bytes": 0}, InvalidOptionError),
        ({"resources": {"CPU": 1}}, InvalidOptionError),
        ({"resources": 3}, TypeError),
        ({"engine": 3}, TypeError),
        ({"environment": {"FLAME_NUM_CPUS": "many"}}, InvalidOptionError),
        ({"environment": {"FLAME_NUM_CPUS": "0"}}, InvalidOptionError),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        load_config(**{"environment": {}, **settings})


# --- control groups -------------------------------------------------------------------------------


def machine(root: Path, files: dict[str, str]) -> str:
    """Make a folder that looks like the root of a machine."""
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content + "\n")
    return str(root)


def test_cpu_quota_of_version_2_is_the_smallest_on_the_way_up(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        {
            "proc/self/cgroup": "0::/a/b",
            "sys/fs/cgroup/a/b/cpu.max": "max 100000",
            "sys/fs/cgroup/a/cpu.max": "150000 100000",
            "sys/fs/cgroup/cpu.max": "400000 100000",
        },
    )
    assert _config._cpu_quota(root) == 1.5


def test_cpu_quota_of_version_1_is_read_from_its_controller(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/x\n2:cpu,cpuacct:/job",
            "sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": "250000",
            "sys/fs/cgroup/cpu/job/cpu.cfs_period_us": "100000",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        },
    )
    assert _config._cpu_quota(root) == 2.5


def test_a_machine_without_control_groups_has_no_quota_and_no_limit(tmp_path: Path) -> None:
    assert _config._cpu_quota(str(tmp_path)) is None
    assert _config._memory_headroom(str(tmp_path)) is None


def test_memory_headroom_is_the_tightest_limit_less_what_is_used(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        {
            "proc/self/cgroup": "0::/a\n3:memory:/b",
            "sys/fs/cgroup/a/memory.max": "max",
            "sys/fs/cgroup/a/memory.current": "10",
            "sys/fs/cgroup/memory.max": "1000",
            "sys/fs/cgroup/memory.current": "400",
            "sys/fs/cgroup/memory/b/memory.limit_in_bytes": "900",
            "sys/fs/cgroup/memory/b/memory.usage_in_bytes": "200",
        },
    )
    assert _config._memory_headroom(root) == 600


def test_a_group_of_the_host_that_is_not_mounted_leaves_the_top(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        {"proc/self/cgroup": "0::/../../elsewhere", "sys/fs/cgroup/cpu.max": "100000 100000"},
    )
    assert _config._cpu_quota(root) == 1.0


def test_the_memory_limit_is_the_tightest_of_all_groups(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        {
            "proc/self/cgroup": "0::/a",
            "sys/fs/cgroup/a/memory.max": "max",
            "sys/fs/cgroup/memory.max": "1000",
        },
    )
    assert _config.memory_limit_bytes(root) == 1000
    assert _config.memory_limit_bytes(str(tmp_path / "nowhere")) is None


def test_ends_for_want_of_memory_are_counted_where_the_process_is(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        {
            "proc/self/cgroup": "0::/a",
            "sys/fs/cgroup/a/memory.events": "low 0\noom 4\noom_kill 3\n",
            "sys/fs/cgroup/memory.events": "oom_kill 9\n",
        },
    )
    assert _config.count_oom_kills(root) == 3
    assert _config.count_oom_kills(str(tmp_path / "nowhere")) == 0
