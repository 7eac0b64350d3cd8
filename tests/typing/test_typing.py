"""What type checkers say about correct and wrong uses."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CORRECT, WRONG = HERE / "correct.py", HERE / "wrong.py"
PYRIGHT_ONLY = HERE / "decorated_classes.py"


class Report(NamedTuple):
    """One error of a type checker."""

    file: str
    line: int
    text: str


def mypy_errors(files: list[Path], cache: Path) -> Iterator[Report]:
    command = [sys.executable, "-m", "mypy", "--strict", "--output=json", f"--cache-dir={cache}"]
    for line in run([*command, *map(str, files)]).splitlines():
        report = json.loads(line)
        if report["severity"] == "error":
            yield Report(Path(report["file"]).name, report["line"], report["message"])


def pyright_errors(files: list[Path]) -> Iterator[Report]:
    command = [sys.executable, "-m", "pyright", f"--pythonpath={sys.executable}", "--outputjson"]
    output = run([*command, *map(str, files)])
    for report in json.loads(output[output.index("{") :])["generalDiagnostics"]:
        if report["severity"] == "error":
            line = report["range"]["start"]["line"] + 1
            yield Report(Path(report["file"]).name, line, report["message"])


def run(command: list[str]) -> str:
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode in (0, 1), result.stdout + result.stderr  # 1: errors were found
    return result.stdout


@pytest.fixture(scope="module", params=["mypy", "pyright"])
def reports(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> list[Report]:
    pytest.importorskip(request.param)
    if request.param == "mypy":
        return list(mypy_errors([CORRECT, WRONG], tmp_path_factory.mktemp("mypy")))
    return list(pyright_errors([CORRECT, WRONG, PYRIGHT_ONLY]))


@pytest.mark.timeout(300)  # the fixture runs a type checker, once each
def test_no_type_checker_reports_a_correct_use(reports: list[Report]) -> None:
    assert [report for report in reports if report.file in (CORRECT.name, PYRIGHT_ONLY.name)] == []


@pytest.mark.timeout(300)
def test_every_type_checker_reports_exactly_the_wrong_lines(reports: list[Report]) -> None:
    lines = WRONG.read_text().splitlines()
    marked = {number for number, line in enumerate(lines, 1) if "  # wrong: " in line}
    found = {report.line: report.text for report in reports if report.file == WRONG.name}
    assert {number: lines[number - 1] for number in marked - found.keys()} == {}, "not reported"
    assert {number: found[number] for number in found.keys() - marked} == {}, "reported for nothing"
    assert len(marked) > 40
