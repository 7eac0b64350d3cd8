"""Ctrl-C, at any instant of any call: it arrives, and the engine works on."""

from __future__ import annotations

from pathlib import Path

import pytest

from .driver import Driver

INTERRUPTS = 10  # of each of these


@pytest.mark.parametrize(
    "what",
    [
        "get what never comes",
        "wait for what never comes",
        "get",
        "get much",
        "wait",
        "submit",
        "submit with a value",
        "put",
        "put much",
        "call an actor",
        "make an actor",
        "cancel",
    ],
)
def test_the_engine_works_after_interrupts(what: str, tmp_path: Path) -> None:
    with Driver(tmp_path, "interrupted", what, INTERRUPTS) as driver:
        assert driver.wait() == 0, driver.errors()
        assert driver.output() == "works\n"
        assert driver.errors() == ""
        assert driver.left_behind() == []
