"""The table of features names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

PAGE: Final = Path(__file__).parent.parent / "docs" / "features.md"
TEXT: Final = PAGE.read_text(encoding="utf-8")
ROWS: Final = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TEXT.partition("## Tests of others")[0].splitlines()
    if line.startswith("| ") and not line.startswith("| feature")
]


def test_every_test_that_the_table_names_exists() -> None:
    named = re.findall(r"\[([\w.]+)::(\w+)\]\(([^)]+)\)", TEXT)
    assert len(named) > 100
    missing = []
    for file, test, link in named:
        path = (PAGE.parent / link).resolve()
        if path.name != file or f"def {test}(" not in path.read_text(encoding="utf-8"):
            missing.append(f"{link}::{test}")
    assert missing == []


def test_every_row_says_what_there_is_and_a_feature_that_is_there_is_shown() -> None:
    assert len(ROWS) > 90
    for feature, state, engines, shown_by in ROWS:
        assert re.match(r"(full|partial|none)\b", state), feature
        assert engines in ("all", "inline, embedded", "embedded", "embedded, Flame", "Flame", "-")
        assert not state.startswith("full") or "::" in shown_by or "no code" in state, feature
