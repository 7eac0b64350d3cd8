"""What `flame-remote doctor` compares with, and when its report is coloured."""

from __future__ import annotations

import io
import re
import runpy
from typing import Final

import pytest

from flame_remote._cli import colour, doctor
from flame_remote._cli.settings import Settings

from .conftest import ROOT

PYPROJECT: Final = (ROOT / "pyproject.toml").read_text()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def names_in(list_name: str) -> list[str]:
    """Return the packages that a list in pyproject.toml names."""
    found = re.search(rf"^{list_name} = \[(.*?)\]$", PYPROJECT, re.MULTILINE | re.DOTALL)
    assert found is not None
    return re.findall(r'"([\w-]+)>=', found[1])


def test_it_looks_for_the_packages_that_are_needed() -> None:
    assert list(doctor.NEEDED) == names_in("dependencies")
    assert list(doctor.FOR_CLUSTERS) == names_in("flame")


def test_it_knows_the_pythons_that_are_supported() -> None:
    job = runpy.run_path(str(ROOT / "run.py"))
    assert (job["OLDEST"], job["NEWEST"]) == (doctor.OLDEST, doctor.NEWEST)


def test_a_check_that_fails_in_an_unknown_way_is_a_problem_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def _broken(settings: Settings) -> tuple[doctor.State, str]:
        raise ZeroDivisionError("division by zero")

    def _fine(settings: Settings) -> tuple[doctor.State, str]:
        return doctor.State.OK, "fine"

    monkeypatch.setattr(doctor, "_CHECKS", (_broken, _fine))
    assert list(doctor.examine(Settings())) == [
        doctor.Finding("broken", doctor.State.PROBLEM, "ZeroDivisionError: division by zero"),
        doctor.Finding("fine", doctor.State.OK, "fine"),
    ]


@pytest.mark.parametrize(
    ("stream", "environment", "wanted"),
    [
        (Terminal(), {}, True),
        (Terminal(), {"NO_COLOR": ""}, True),  # empty counts as not set
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"TERM": "dumb"}, False),
        (io.StringIO(), {}, False),
        (io.StringIO(), {"FORCE_COLOR": "1"}, True),
        (io.StringIO(), {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_colour_is_for_terminals_unless_the_environment_says_otherwise(
    stream: io.StringIO, environment: dict[str, str], wanted: bool
) -> None:
    assert colour.is_wanted(stream, environment) is wanted
    assert colour.coloured("text", "red", wanted) == ("\x1b[31mtext\x1b[0m" if wanted else "text")
