"""Which modules only the user has, and how what they define is sent."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flame_remote._wire import own_modules
from flame_remote._wire.packing import pack

NAME = "a_module_of_the_user"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Name a module that lies in a folder of the user's."""
    (tmp_path / f"{NAME}.py").write_text(
        "def double(x): return 2 * x\n"
        "class Point:\n    def __init__(self, x): self.x = double(x)\n"
        "point = Point(3)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    __import__(NAME)
    yield NAME
    del sys.modules[NAME]
    own_modules._is_own.cache_clear()


@pytest.fixture
def by_value() -> Iterator[None]:
    own_modules.send_by_value()
    yield
    own_modules.send_by_name()


def rebuilt_elsewhere(value: object, expression: str) -> str:
    """Load a value in a process that does not have the module; return what an expression gives."""
    packed = pack(value, lambda: "the value")
    assert not packed.buffers
    program = f"import pickle, sys; value = pickle.load(sys.stdin.buffer); print({expression})"
    done = subprocess.run(
        [sys.executable, "-c", program], input=packed.data, capture_output=True, check=True
    )
    return done.stdout.decode().strip()


@pytest.mark.usefixtures("by_value")
def test_functions_classes_and_instances_travel_as_code_with_what_they_use(module: str) -> None:
    user = sys.modules[module]
    assert rebuilt_elsewhere(user.double, "value(4)") == "8"
    assert rebuilt_elsewhere(user.Point, "value(4).x") == "8"
    assert rebuilt_elsewhere([user.point], "value[0].x") == "6"
    assert rebuilt_elsewhere(lambda: user.double(5), "value()") == "10"


def test_without_an_engine_that_asks_for_it_they_travel_by_name(module: str) -> None:
    packed = pack(sys.modules[module].double, lambda: "the value")
    assert len(packed.data) < 100
    assert pickle.loads(packed.data) is sys.modules[module].double


@pytest.mark.usefixtures("by_value")
def test_what_is_installed_travels_by_name() -> None:
    for name in ("json", "collections.abc", "numpy.linalg", "pytest", "flame_remote.exceptions"):
        __import__(name)
        assert not own_modules.travels_by_value(name), name
    assert len(pack(json.dumps, lambda: "the value").data) < 100


def test_two_engines_may_ask_for_it_and_the_last_to_end_ends_it(module: str) -> None:
    own_modules.send_by_value()
    own_modules.send_by_value()
    own_modules.send_by_name()
    assert own_modules.travels_by_value(module)
    pack(sys.modules[module].double, lambda: "the value")
    own_modules.send_by_name()
    assert not own_modules.travels_by_value(module)
    import cloudpickle

    assert NAME not in cloudpickle.list_registry_pickle_by_value()
