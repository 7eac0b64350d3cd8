"""Stand-ins for flamepy's modules, where it is not installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.server.client import ROOT

PROGRAM = """
import sys
sys.path.insert(0, {root!r})
from flame_remote._server import aliases
aliases.install()
{body}
"""


def run(body: str, **options: object) -> str:
    """Run code after `install` in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(root=str(ROOT), body=body)],
        capture_output=True,
        text=True,
        timeout=30,
        **options,  # type: ignore[call-overload]
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_pickles_of_flamepy_s_clients_can_be_read_and_refs_go_back_under_its_names() -> None:
    output = run("""
import pickle, pkgutil
ref = pkgutil.resolve_name("flamepy.core.cache:ObjectRef")("grpc://h:1", "a/b/c", 3)
again = pickle.loads(pickle.dumps(ref))
print(again == ref, type(ref).decode(ref.encode()) == ref, vars(again))
request = pickle.loads(pickle.dumps(pkgutil.resolve_name("flamepy.runner.types:RunnerRequest")()))
print(type(request).__module__, request.method)
""")
    assert output.splitlines() == [
        "True True {'endpoint': 'grpc://h:1', 'key': 'a/b/c', 'version': 3}",
        "flamepy.runner.types None",
    ]


def test_what_else_flamepy_has_comes_from_us() -> None:
    output = run("""
from flamepy.core import FlameContext
from flamepy.runner import Runner, SessionContext
print(FlameContext.__module__, Runner.__module__, SessionContext("x").session_id)
from flamepy.core import get_object
print(get_object([1]))
""")
    assert output.splitlines() == [
        "flame_remote.core.context flame_remote.runner.runner x",
        "[1]",
    ]


def test_what_nobody_has_is_told_with_the_reason() -> None:
    with pytest.raises(AssertionError, match="flamepy is not installed for the instances"):
        run("import flamepy.runner; flamepy.runner.Sandbox")


def test_a_flamepy_that_is_installed_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "flamepy.py").write_text("REAL = True")
    body = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import flamepy; print(flamepy.REAL)"
    code = PROGRAM.format(root=str(ROOT), body=body).replace(
        "aliases.install()", f"sys.path.insert(0, {str(tmp_path)!r}); aliases.install()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert done.stdout.strip() == "True", done.stderr
