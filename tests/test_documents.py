"""The documents: every Python block runs and prints what stands below it, on every engine.

The blocks of a page are one program, run from top to bottom. A `text` block right after a Python
block is what that block prints, or the traceback with which it ends; `...` in it stands for
anything. A block under `<!-- embedded engine only -->` runs on that engine alone.
"""

from __future__ import annotations

import ast
import json
import os
import re
import runpy
import subprocess
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest

import flame_remote as flame
from flame_remote import exceptions
from flame_remote._options import ActorOptions, TaskOptions

ROOT: Final = Path(__file__).resolve().parent.parent
PAGES: Final = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ENGINES: Final = ["inline", "embedded"]

EMBEDDED_ONLY: Final = "<!-- embedded engine only -->"
END_OF_BLOCK: Final = "--- end of block ---"

# Runs in a process of its own. What the blocks define lies in `__main__`, as in a user's script.
RUN_BLOCKS: Final = """
import json as _json, sys as _sys, traceback as _traceback

_page, _blocks, _end = _json.loads(_sys.argv[1])
for _line, _code, _raises in _blocks:
    _compiled = compile("\\n" * _line + _code, _page, "exec")
    try:
        exec(_compiled, globals())
    except Exception as _error:
        if not _raises:
            raise
        _traceback.print_exception(
            type(_error), _error, _error.__traceback__.tb_next, file=_sys.stdout
        )
    print(_end, flush=True)
"""


@dataclass
class Block:
    """A fenced block of a page; `line` is that of its first line, `before` the line above it."""

    language: str
    line: int
    text: str
    before: str
    output: str = ""  # of a Python block: the text block that follows it

    @property
    def raises(self) -> bool:
        """Whether the block ends with an exception."""
        return self.output.startswith("Traceback ")


def blocks_of(page: Path) -> list[Block]:
    """Take the fenced blocks out of a page."""
    blocks: list[Block] = []
    inside: Block | None = None
    before = ""  # the last line that is not empty
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if inside is None and line.startswith("```"):
            inside = Block(line[3:].strip(), number + 1, "", before)
        elif inside is not None and line == "```":
            blocks.append(inside)
            inside = None
        elif inside is not None:
            inside.text += line + "\n"
        before = line.strip() or before
    assert inside is None, f"{page.name}: the block in line {inside and inside.line} has no end"
    for block, following in pairwise(blocks):
        if following.language == "text" and following.before == "```":
            block.output = following.text
    return blocks


def python_blocks(page: Path) -> list[Block]:
    """Take the Python blocks out of a page."""
    return [block for block in blocks_of(page) if block.language == "python"]


def matches(expected: str, printed: str) -> bool:
    """Say whether a text is as expected, `...` standing for anything."""
    parts = [re.escape(part) for part in expected.split("...")]
    return re.fullmatch(".*?".join(parts), printed, re.DOTALL) is not None


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "page", [page for page in PAGES if python_blocks(page)], ids=lambda page: page.name
)
def test_every_python_block_of_a_page_prints_what_stands_below_it(
    page: Path, engine: str, tmp_path: Path
) -> None:
    blocks = [
        block
        for block in python_blocks(page)
        if engine == "embedded" or block.before != EMBEDDED_ONLY
    ]
    # The numbers of lines are those of the page.
    job = [(block.line - 1, block.text, block.raises) for block in blocks]
    ended = subprocess.run(
        [sys.executable, "-c", RUN_BLOCKS, json.dumps((str(page), job, END_OF_BLOCK))],
        cwd=tmp_path,
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
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout[-1000:]
    printed = ended.stdout.split(END_OF_BLOCK + "\n")
    for block, output in zip(blocks, printed, strict=False):
        where = f"{page.name}, line {block.line}"
        assert matches(block.output, output), (
            f"{where}: expected\n{block.output}\nbut it printed\n{output}"
        )
    assert printed[len(blocks) :] == [""]  # nothing after the last block
    assert list(tmp_path.iterdir()) == []


def test_blocks_that_no_engine_of_the_tests_runs_are_at_least_valid() -> None:
    for page in PAGES:
        for block in python_blocks(page):
            ast.parse(block.text, f"{page.name}:{block.line}")


def test_every_command_for_a_shell_is_one_that_run_py_knows() -> None:
    jobs = runpy.run_path(str(ROOT / "run.py"))["LISTS"]
    commands = [
        line.partition("#")[0].strip()
        for page in PAGES
        for block in blocks_of(page)
        if block.language == "sh"
        for line in block.text.splitlines()
    ]
    assert "python3 run.py demo" in commands
    assert "python3 run.py test" in commands
    for command in commands:
        program = command.split()
        assert program[:2] == ["python3", "run.py"], command
        assert program[2] in jobs, command


def test_every_block_says_what_it_is() -> None:
    languages = {block.language for page in PAGES for block in blocks_of(page)}
    # Those of the last two kinds are run by tests/cli/test_commands_page.py.
    assert languages <= {"python", "text", "sh", "console", "yaml"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_section_leads_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors


def test_the_guide_tells_of_every_error_every_option_and_every_verb() -> None:
    guide = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
    errors = [name for name in flame.__all__ if hasattr(exceptions, name)]
    verbs = [name for name in flame.__all__ if name.islower()]
    options = [*TaskOptions.__slots__, *ActorOptions.__slots__]
    assert [name for name in errors if f"`{name}`" not in guide] == []
    assert [name for name in verbs if f"flame.{name}" not in guide] == []
    assert [name for name in options if f"`{name}`" not in guide] == []
