"""Tables and cards look as those of Flame's flmctl."""

from __future__ import annotations

from flame_remote._cli.tables import card, items, table


def test_columns_are_as_wide_as_their_widest_cell_with_two_blanks_between() -> None:
    text = table(("ID", "State"), [("flmrun-abc123", "Open"), ("x", "Closed")])
    assert text == (
        " ID             State\n"
        " flmrun-abc123  Open\n"
        " x              Closed\n"
    )  # fmt: skip


def test_a_table_without_rows_has_its_heads() -> None:
    assert table(("Name", "State"), []) == " Name  State\n"


def test_a_table_without_heads_and_rows_is_empty() -> None:
    assert table((), []) == ""


def test_a_name_cannot_move_the_cursor_or_break_a_line() -> None:
    text = table(("ID", "App"), [("a\x1b[2Jb\n", "c\u202ed")])
    assert text == (
        " ID           App\n"
        " a\\x1b[2Jb\\n  c\\u202ed\n"
    )  # fmt: skip


def test_wide_and_combining_characters_keep_the_columns_straight() -> None:
    text = table(
        ("App", "State"), [("計算", "Open"), ("e\u0301te\u0301", "Open"), ("abcd", "Open")]
    )
    assert text == (
        " App   State\n"
        " 計算  Open\n"
        " e\u0301te\u0301   Open\n"
        " abcd  Open\n"
    )  # fmt: skip


def test_the_values_of_a_card_stand_in_one_column() -> None:
    assert (
        card([("Name", "flmrun"), ("Description", "")]) == "Name:          flmrun\nDescription:\n"
    )
    assert card([("CPU", "2")], indent=2) == "  CPU:         2\n"


def test_items_of_several_lines_are_indented() -> None:
    assert items(["one", "two\nlines"]) == "\tone\n\ttwo\n\t  lines\n"
    assert items([]) == ""
    assert items([""], "  ") == "  \n"
