"""Tables and cards of text, as Flame's `flmctl` prints them, less blanks at the end of lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from .words import padded, printable, width

LABEL_COLUMNS: Final = 15  # of a card


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay out rows below heads: one blank in front, two between columns, no lines.

    Args:
        heads: the titles of the columns; none for a table without a head.
        rows: as many cells each. Characters that are not printable are escaped.

    Returns:
        The lines, each with its end.
    """
    lines = [[printable(cell) for cell in row] for row in rows]
    if heads:
        lines.insert(0, list(heads))
    widths = [max(map(width, column)) for column in zip(*lines, strict=True)]
    return "".join((" " + "  ".join(map(padded, line, widths))).rstrip() + "\n" for line in lines)


def card(rows: Iterable[tuple[str, str]], *, indent: int = 0) -> str:
    """Lay out labels with their values: `Name:          flmrun`.

    Args:
        rows: labels, and values of one line.
        indent: blanks in front of the label; the values stay in their column.
    """
    return "".join(
        (" " * indent + padded(f"{label}:", LABEL_COLUMNS - indent) + printable(value)).rstrip()
        + "\n"
        for label, value in rows
    )


def items(texts: Iterable[str], prefix: str = "\t") -> str:
    """Lay out texts below a label, each on a line of its own; their further lines are indented."""
    return "".join(
        prefix + ("\n" + prefix + "  ").join(map(printable, text.splitlines() or [""])) + "\n"
        for text in texts
    )
