"""Which GPUs a process may use, as CUDA_VISIBLE_DEVICES or the driver's files say."""

from __future__ import annotations

from pathlib import Path

import pytest

from flame_remote._config import load_config
from flame_remote._gpus import VARIABLE, named_gpus, visible_gpus
from flame_remote.exceptions import InvalidOptionError


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("0,1", ["0", "1"]),
        (" 3 , GPU-8f", ["3", "GPU-8f"]),
        ("", []),
        ("-1", []),
        ("2,-1,3", ["2"]),
    ],
)
def test_the_variable_says_which(given: str, names: list[str]) -> None:
    assert visible_gpus({VARIABLE: given}) == names


def test_without_the_variable_the_files_of_the_driver_do(tmp_path: Path) -> None:
    root = str(tmp_path)
    assert visible_gpus({}, root) == []
    device_files = tmp_path / "dev"
    device_files.mkdir()
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (device_files / name).touch()
    assert visible_gpus({}, root) == ["0", "1"]
    (tmp_path / "proc/driver/nvidia/gpus/0000:01:00.0").mkdir(parents=True)
    assert visible_gpus({}, root) == ["0"]


def test_an_engine_has_as_many_as_it_is_told_to() -> None:
    assert named_gpus(2, {}) == ["0", "1"]
    assert named_gpus(1.5, {VARIABLE: "5,7,9"}) == ["5", "7"]
    assert load_config(environment={VARIABLE: "5,7"}).gpus == ("5", "7")
    assert load_config(num_gpus=1, environment={VARIABLE: "5,7"}).gpus == ("5",)


def test_more_than_are_visible_are_refused() -> None:
    with pytest.raises(InvalidOptionError) as caught:
        load_config(num_gpus=2, environment={VARIABLE: "5"})
    assert str(caught.value) == (
        "num_gpus must be at most 1, not 2: CUDA_VISIBLE_DEVICES='5' shows no more to this process"
    )
