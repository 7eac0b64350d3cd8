"""The tables of docs/design.md and docs/formats.md say what the code says."""

from __future__ import annotations

import re
import runpy
from collections.abc import Mapping
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

import pytest

from flame_remote._local import channel, progress, spawner, stored_value
from flame_remote._local.arena import SEGMENT_SHIFT
from flame_remote._local.messages import HEADER, MESSAGES, Recall, encode
from flame_remote._local.objects import StoredObject
from flame_remote._outcome import Kind
from flame_remote._scheduling import fleet, helping, pace, placement
from flame_remote._scheduling.states import ACTOR_TRANSITIONS, TASK_TRANSITIONS
from flame_remote._wire import packing

ROOT: Final = Path(__file__).parent.parent
PACKAGE: Final = ROOT / "flame_remote"
DESIGN: Final = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
FORMATS: Final = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")


def tables_of(page: str) -> dict[tuple[str, ...], list[list[tuple[str, ...]]]]:
    """Return the tables of a page by their heads; a row is a tuple of cells without backticks."""
    tables: dict[tuple[str, ...], list[list[tuple[str, ...]]]] = {}
    for text in re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE):
        rows = [
            tuple(cell.strip().replace("`", "") for cell in line.strip("|").split("|"))
            for line in text.splitlines()
        ]
        assert set("".join(rows[1])) == {"-"}
        tables.setdefault(rows[0], []).append(rows[2:])
    return tables


@pytest.mark.parametrize(("place", "transitions"), [(0, TASK_TRANSITIONS), (1, ACTOR_TRANSITIONS)])
def test_state_tables_are_those_of_the_code(
    place: int, transitions: Mapping[tuple[IntEnum, IntEnum], IntEnum]
) -> None:
    documented = tables_of(DESIGN)["state", "step", "next"][place]
    assert documented == [
        (state.name, step.name, following.name) for (state, step), following in transitions.items()
    ]


def test_layers_are_those_that_are_checked() -> None:
    layers = runpy.run_path(str(ROOT / "tests" / "test_layers.py"))["LAYERS"]
    (rows,) = tables_of(DESIGN)["row", "parts", "what"]
    documented = {int(row): parts.split(", ") for row, parts, _ in rows}
    assert documented == dict(enumerate(layers))


def test_parts_that_are_not_there_yet_are_named() -> None:
    layers = runpy.run_path(str(ROOT / "tests" / "test_layers.py"))["LAYERS"]
    there = {path.name.removesuffix(".py") for path in PACKAGE.iterdir()}
    missing = {part for parts in layers for part in parts} - there
    sentence = re.search(r"^Not there yet: (.*)\.$", DESIGN, re.MULTILINE)
    named = set() if sentence is None else set(sentence[1].replace("`", "").split(", "))
    assert named == missing


def test_files_that_the_design_names_exist() -> None:
    # In the straight line and in the text; paths in `docs` and `tests` are written in full.
    names = set(re.findall(r"\b((?:[a-z_]+/)*[a-z_]+\.py)\b", DESIGN))
    assert len(names) > 20
    assert [
        name for name in names if not ((PACKAGE / name).exists() or (ROOT / name).exists())
    ] == []


def test_names_in_the_straight_line_are_in_the_files_beside_them() -> None:
    line = DESIGN.split("```text\n")[1].split("```")[0]
    pairs = re.findall(
        r"^ *([A-Za-z_.]+)(?:\(\S*)? +((?:[a-z_]+/)*[a-z_]+\.py)", line, re.MULTILINE
    )
    assert len(pairs) > 15
    for name, file in pairs:
        source = (PACKAGE / file).read_text(encoding="utf-8")
        last = name.rpartition(".")[2]
        assert re.search(rf"(class|def) {last}\b", source), (name, file)


def test_numbers_in_the_design_are_those_of_the_code() -> None:
    for text in (
        f"`BUDGET_SECONDS` ({pace.BUDGET_SECONDS * 1000:g} ms), at most {pace.MAX_WINDOW}",
        f"nothing for {placement.STALL_SECONDS * 1000:g} ms (`STALL_SECONDS`)",
        f"up to {helping.MAX_HELP_DEPTH} deep",
        f"{fleet.MAX_FRACTIONAL_WORKERS} where tasks ask for less than a CPU",
        f"Up to {packing.INLINE_LIMIT_BYTES // 1024} KiB ride in messages",
        f"At most {progress.WORDS} workers at a time",
        f"marker `{spawner.MARKER}`",
    ):
        assert text in " ".join(DESIGN.split()), text
    assert fleet.START_ATTEMPTS == 3  # "Three workers lost in a row"


def test_messages_are_those_of_the_code() -> None:
    (rows,) = tables_of(FORMATS)["code", "message", "goes", "fields", "says"]
    documented = [(int(code), name, fields) for code, name, _, fields, _ in rows]
    assert documented == [
        (code, message.__name__, ", ".join(message._fields))
        for code, message in enumerate(MESSAGES)
    ]
    assert {goes for _, _, goes, _, _ in rows} == {"to worker", "to driver", "both ways", "control"}


def test_example_of_a_frame_is_one() -> None:
    assert encode(Recall()).hex() in FORMATS.replace(" ", "")
    assert HEADER.format == "<II"
    assert f"at most {channel._MAX_DESCRIPTORS}" in FORMATS


def test_kinds_are_those_of_the_code() -> None:
    (rows,) = tables_of(FORMATS)["kind", "name", "data"]
    assert [(int(kind), name) for kind, name, _ in rows] == [(kind, kind.name) for kind in Kind]
    assert StoredObject("").kind == Kind.PENDING


def test_layout_of_a_stored_value_is_that_of_the_code() -> None:
    layout = stored_value.__doc__ or ""
    rows = tables_of(FORMATS)["offset", "type", "what"][1]
    in_code = re.findall(r"^    (\S+) +(4 bytes|u16|u32|u64, u64|u64|bytes) ", layout, re.MULTILINE)
    assert [(offset, kind) for offset, kind, _ in rows] == in_code
    assert stored_value.MAGIC.decode() in rows[0][2]
    assert str(stored_value.VERSION) in rows[1][2]
    assert f"{SEGMENT_SHIFT}`" in FORMATS


def test_lines_of_the_spawner_are_those_of_the_code() -> None:
    source = "".join(
        (PACKAGE / "_local" / name).read_text() for name in ("spawner.py", "spawning.py")
    )
    (rows,) = tables_of(FORMATS)["direction", "line"]
    in_page: dict[str, set[Any]] = {"do": set(), "is": set()}
    for _, line in rows:
        for key, value in re.findall(r'"(do|is)": "(\w+)"', line):
            in_page[key].add(value)
        for field in re.findall(r'"(\w+)"', line):
            assert f'"{field}"' in source, field
    assert in_page["do"] == set(re.findall(r'"do": "(\w+)"', source))
    assert in_page["is"] == set(re.findall(r'"is": "(\w+)"', source))
    assert f"{progress.PROGRESS_BYTES} bytes" in FORMATS
    assert f"{progress.WORDS} times u64" in FORMATS
