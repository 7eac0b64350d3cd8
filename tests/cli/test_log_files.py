"""The ends of log files, and what comes to them later."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flame_remote._cli import log_files
from flame_remote._cli.log_files import follow, show_end

Captured = pytest.CaptureFixture[str]


@given(
    text=st.text("ab\n", max_size=40),
    lines=st.integers(0, 6),
    block=st.sampled_from([1, 2, 3, 7, 1 << 16]),
)
def test_the_last_lines_are_found_backwards(
    tmp_path_factory: pytest.TempPathFactory, text: str, lines: int, block: int
) -> None:
    file = tmp_path_factory.getbasetemp() / "lines.log"
    file.write_text(text)
    every = text.splitlines(keepends=True)
    last = every[max(0, len(every) - lines) :]
    with pytest.MonkeyPatch.context() as patch, open(file, "rb") as stream:
        patch.setattr(log_files, "_BLOCK", block)
        start = log_files._start_of_last_lines(stream, lines)
    assert text[start:] == "".join(last)


def test_one_log_is_shown_as_it_is(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    file = tmp_path / "a.log"
    file.write_bytes(b"one\ntwo \xff")
    assert show_end({"a": file}, None) == {"a": 9}
    assert capsysbinary.readouterr().out == b"one\ntwo \xff"


def test_several_logs_are_shown_under_their_names_but_empty_ones(
    tmp_path: Path, capsys: Captured
) -> None:
    files = {name: tmp_path / name for name in ("a", "b", "c")}
    files["a"].write_text("one\ntwo\n")
    files["b"].write_text("")
    files["c"].write_text("three\n")
    show_end(files, 1)
    assert capsys.readouterr().out == "==> a <==\ntwo\n==> c <==\nthree\n"


def test_what_is_added_is_shown_in_whole_lines_until_the_end(
    tmp_path: Path, capsys: Captured
) -> None:
    files = {"a": tmp_path / "a"}
    files["a"].write_text("old\n")
    positions = show_end(files, 0)
    turns = iter(("half a ", "line\nnext\n", "no end"))
    shown = []

    def goes_on() -> bool:
        shown.append(capsys.readouterr().out)
        text = next(turns)
        with open(files["a"], "a") as file:
            file.write(text)
        if text == "line\nnext\n":  # another log comes while we look
            files["b"] = tmp_path / "b"
            files["b"].write_text("hello\n")
        return text != "no end"

    follow(lambda: files, positions, goes_on)
    shown.append(capsys.readouterr().out)
    assert shown == ["", "", "a: half a line\na: next\nb: hello\n", "a: no end"]
