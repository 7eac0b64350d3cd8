"""The examples, each run as a program on every engine."""

from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).resolve().parent.parent
EXAMPLES: Final = ROOT / "examples"
LABEL_WIDTH: Final = 11  # in what the demo prints
SHORT: Final = sorted(path.stem for path in EXAMPLES.glob("*.py") if path.stem != "demo")

pytestmark = pytest.mark.parametrize("engine", ["inline", "embedded"])


def run(example: str, *arguments: str, engine: str) -> subprocess.CompletedProcess[str]:
    """Run an example as `python examples/NAME.py` does."""
    return subprocess.run(
        [sys.executable, str(EXAMPLES / f"{example}.py"), *arguments],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "FLAME_ENGINE": engine,
            "FLAME_NUM_CPUS": "2",
        },
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=50,
    )


# --- the short ones -------------------------------------------------------------------------------


def expected_output(example: str) -> str:
    """Return what the docstring of an example says it prints."""
    tree = ast.parse((EXAMPLES / f"{example}.py").read_text(encoding="utf-8"))
    _, _, output = (ast.get_docstring(tree) or "").partition("Prints:\n\n")
    assert output, f"{example}.py does not say what it prints"
    return textwrap.dedent(output) + "\n"


@pytest.mark.parametrize("example", SHORT)
def test_an_example_prints_what_its_docstring_says(example: str, engine: str) -> None:
    if example == "shared_array":
        pytest.importorskip("numpy")
    ended = run(example, engine=engine)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == expected_output(example)


# --- the demo -------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Make a folder of source text of which everything is known."""
    texts = {
        "pack/__init__.py": "from . import first\n",
        "pack/first.py": "import os, pack.second\n\n\ndef f(a):\n    # why\n    return a\n",
        "pack/second.py": "from pack.first import f\n\nif f:\n    import top\n",
        "top.py": "def long():\n    import pack\n" + "    pass\n" * 8,
        "pack/data.txt": "no source text",
        ".hidden/x.py": "hidden = 1\n",
        "bad.py": "def broken(:\n",
        "zeros.py": "x = '\0'\n",
        "latin.py": "# coding: no-such-encoding\n",
    }
    for name, text in texts.items():
        path = tmp_path / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (tmp_path / "project" / "bytes.py").write_bytes(b"name = '\xff'\n")
    (tmp_path / "project" / "nowhere.py").symlink_to("is/not/there.py")
    os.mkfifo(tmp_path / "project" / "pipe.py")
    return tmp_path / "project"


def paragraph(label: str, output: str) -> str:
    """Return what the demo prints under a label."""
    found = re.search(rf"^{label} .*\n(?: .*\n)*", output, re.MULTILINE)
    assert found is not None, output
    return re.sub(f"^.{{{LABEL_WIDTH}}}", "", found[0], flags=re.MULTILINE)


def test_the_demo_finds_out_what_is_there(project: Path, engine: str) -> None:
    ended = run("demo", str(project), engine=engine)
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout
    assert "8 files" in ended.stdout.splitlines()[0]
    assert paragraph("names", ended.stdout).startswith("8 different, used 14 times\n")
    functions = paragraph("functions", ended.stdout)
    assert "2; half of them take at most 6.5 lines" in functions
    assert f"10 lines  long  {project}/top.py:1\n" in functions
    assert paragraph("comments", ended.stdout).startswith("1 in 21 lines")
    imports = paragraph("imports", ended.stdout)
    assert "by most files: pack 3, os 1, top 1" in imports
    assert "importing pack runs 3 others of these modules" in imports
    assert "the largest cycle has 2: pack.first, pack.second" in imports


def test_the_demo_names_files_that_are_no_valid_source(project: Path, engine: str) -> None:
    output = run("demo", str(project), engine=engine).stdout
    left_out = paragraph("left out", output)
    assert left_out.startswith("4 that cannot be read as Python:\n")
    for name, reason in [
        ("bad", "line 1: "),
        ("zeros", ".*null bytes"),
        ("latin", "unknown encoding"),
        ("bytes", "invalid or missing encoding|.*can't decode byte"),
    ]:
        assert re.search(rf"/{name}\.py: ({reason})", left_out), left_out


def test_the_demo_compares_every_result_with_a_serial_run(project: Path, engine: str) -> None:
    output = run("demo", str(project), engine=engine).stdout
    # 8 files make up to 8 groups, and two results each; then the sum, the graph, and the law.
    found = re.match(
        r"(\d+) results, all equal to those of a serial run\n$", paragraph("checked", output)
    )
    assert found is not None, output
    assert int(found[1]) in range(9, 20, 2)
    assert re.fullmatch(
        rf"[\d.]+ s on 2 CPUs \({engine} engine\), serially [\d.]+ s: [\d.]+ times as fast\n",
        paragraph("time", output),
    )


def test_the_demo_takes_files_as_well_as_folders(project: Path, engine: str) -> None:
    ended = run("demo", str(project / "top.py"), str(project / "pack"), engine=engine)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "4 files" in ended.stdout.splitlines()[0]
    assert "left out" not in ended.stdout


def test_the_demo_copes_with_files_that_say_next_to_nothing(tmp_path: Path, engine: str) -> None:
    for number, text in enumerate(["", "1\n", "x = 1\n", "("]):
        path = tmp_path / f"{number}.py"
        path.write_text(text, encoding="utf-8")
        ended = run("demo", str(path), engine=engine)
        assert (ended.returncode, ended.stderr) == (0, ""), text
        assert "5 results, all equal" in ended.stdout


def test_the_demo_refuses_paths_at_which_there_is_nothing(tmp_path: Path, engine: str) -> None:
    for path, reason in [
        (tmp_path / "nowhere", f"no such file or folder: {tmp_path}/nowhere"),
        (tmp_path, f"there is no Python file in {tmp_path}"),
    ]:
        ended = run("demo", str(path), engine=engine)
        assert (ended.returncode, ended.stdout) == (2, "")
        assert ended.stderr == f"demo: {reason}\n"


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch, engine: str) -> Iterator[Any]:
    """Import the demo into this process, under the engine."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setenv("FLAME_ENGINE", engine)
    monkeypatch.setenv("FLAME_NUM_CPUS", "2")
    yield importlib.import_module("demo")
    for name in [name for name in sys.modules if name.partition(".")[0] in ("demo", "demo_parts")]:
        del sys.modules[name]


def test_the_demo_fails_if_a_result_differs(
    demo: Any, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run_wrongly(groups: Any) -> Any:
        results = demo_runs.run_serially(groups)
        results.total.lines += 1
        return results

    demo_runs = importlib.import_module("demo_parts.runs")
    monkeypatch.setattr(demo, "run_serially", run_wrongly)
    assert demo.main([str(project)]) == 1
    wrong = paragraph("WRONG", capsys.readouterr().out)
    assert re.fullmatch(r"1 of \d+ results differ from a serial run:\nsum of all reports\n", wrong)


def test_the_fit_is_the_same_without_numpy(
    demo: Any, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    pytest.importorskip("numpy")
    zipf = importlib.import_module("demo_parts.zipf")
    tasks = importlib.import_module("demo_parts.tasks")
    names = {f"name {rank}": round(1000 / (rank + 2) ** 1.2) for rank in range(1, 300)}
    with_numpy = tasks.fit_serially(zipf.counts_by_rank(names))
    monkeypatch.setattr(zipf, "numpy", None)
    without = tasks.fit_serially(zipf.counts_by_rank(names))
    assert (without.shift, without.power) == (with_numpy.shift, with_numpy.power)
    assert without.log_likelihood == pytest.approx(with_numpy.log_likelihood)
    assert with_numpy.shift == pytest.approx(2, abs=0.3)
    assert with_numpy.power == pytest.approx(1.2, abs=0.03)


def test_the_readme_shows_what_the_demo_prints(project: Path, engine: str) -> None:
    output = run("demo", str(project), engine=engine).stdout
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    labels = re.findall(r"^([a-z]+)  +", readme, re.MULTILINE)
    assert labels == re.findall(r"^([a-z]+)  +", output, re.MULTILINE)
    assert labels == ["names", "functions", "comments", "imports", "checked", "time"]
