"""How functions and classes become bytes."""

from __future__ import annotations

import importlib
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import flame_remote as flame
from flame_remote.runner import source
from flame_remote.runner.source import by_name, export, load_by_name


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Return an importable module with decorated and plain functions and classes."""
    (tmp_path / "for_export.py").write_text(
        textwrap.dedent(
            """
            import threading
            import flame_remote as flame

            lock = threading.Lock()  # travels by name only

            @flame.remote
            def decorated():
                return lock

            def plain():
                return lock

            @flame.remote
            class Decorated:
                def method(self):
                    return lock

            class Plain:
                @staticmethod
                def method():
                    return lock

            @flame.remote
            class Outer:
                class Inner:
                    pass
            """
        )
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("for_export")
    sys.modules.pop("for_export", None)


def exported(value: Any) -> Any:
    code, refs = export(value)
    assert not refs
    return pickle.loads(code)


@pytest.mark.parametrize("name", ["decorated", "Decorated"])
def test_what_was_decorated_in_a_module_travels_by_name(module: ModuleType, name: str) -> None:
    raw = getattr(module, name).__wrapped__
    assert exported(raw) is raw
    assert len(export(raw)[0]) < 300


@pytest.mark.parametrize("name", ["plain", "Plain", "Plain.method"])
def test_what_is_plain_in_a_module_travels_by_name(module: ModuleType, name: str) -> None:
    raw: Any = module
    for part in name.split("."):
        raw = getattr(raw, part)
    assert exported(raw) is raw


def test_builtins_travel_by_name() -> None:
    assert exported(len) is len
    assert exported(dict) is dict


def test_a_name_that_leads_elsewhere_is_no_name(module: ModuleType) -> None:
    raw = module.decorated.__wrapped__
    module.decorated = module.plain
    assert by_name(raw) is None
    with pytest.raises(flame.SerializationError):  # so it goes by value, and uses a lock
        export(raw)


def test_a_function_of_the_main_module_has_no_name() -> None:
    script: dict[str, Any] = {"__name__": "__main__"}
    exec("def function(): return 3", script)
    assert by_name(script["function"]) is None
    assert exported(script["function"])() == 3


def test_a_module_that_is_not_there_is_reported_with_where_it_was() -> None:
    with pytest.raises(ModuleNotFoundError) as caught:
        load_by_name("not_there", "square", True, "/project/not_there.py")
    assert str(caught.value) == (
        "cannot import 'not_there', where square is defined "
        "(from /project/not_there.py in the process that made the call)"
    )
    assert caught.value.name == "not_there"


def test_a_module_that_imports_what_is_not_there_is_reported_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "imports_too_much.py").write_text("import not_there_either\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match=r"^No module named 'not_there_either'$"):
        load_by_name("imports_too_much", "square", True, "")


def test_large_arrays_that_code_closes_over_go_along_and_can_be_written() -> None:
    array = np.arange(100_000.0)

    def mean() -> float:
        array[0] = 1.0
        return float(array.mean())

    expected = float(array.mean()) + 1.0 / len(array)
    again = exported(mean)
    assert again() == pytest.approx(expected)
    assert array[0] == 0.0


def test_code_that_was_loaded_is_sent_on_as_it_came() -> None:
    names = {"b", "c", "a"}  # a set's order may change each time it is pickled

    def function() -> set[str]:
        return names

    code, _ = export(function)
    again = pickle.loads(code)
    once_more = pickle.loads(export(again)[0])
    assert export(again)[0] == code
    assert export(once_more)[0] == code
    assert once_more() == names


def test_the_code_of_a_function_that_is_gone_is_forgotten() -> None:
    before = len(source._code_of)
    again = exported(lambda: 1)
    assert len(source._code_of) == before + 1
    del again
    assert len(source._code_of) == before


def test_exports_of_one_script_are_equal_in_two_processes() -> None:
    script = (
        "import flame_remote as flame\n"
        "from flame_remote.runner.source import export\n"
        "@flame.remote\n"
        "def fib(n): return n if n < 2 else sum(flame.get([fib.remote(n - 1)]))\n"
        "print(export(fib.__wrapped__)[0].hex())\n"
    )
    outputs = {
        subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout
        for _ in range(2)
    }
    assert len(outputs) == 1
