"""flame.progress and `progress=True`."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable

import pytest

import flame_remote as flame
from flame_remote._progress import Bar

pytestmark = pytest.mark.usefixtures("engine")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@flame.remote
def double(x: int) -> int:
    if x < 0:
        raise ValueError("negative")
    return x * 2


def test_progress_returns_what_get_returns_and_writes_one_line_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert flame.progress([double.remote(n) for n in range(5)], label="doubles") == [0, 2, 4, 6, 8]
    captured = capsys.readouterr()
    assert re.fullmatch(r"doubles: 5 of 5 done in \d+\.\d s\n", captured.err)
    assert captured.out == ""


def test_progress_takes_all_that_get_takes() -> None:
    assert flame.progress(double.remote(1)) == 2
    assert flame.progress((double.remote(1), double.remote(2))) == (2, 4)
    assert flame.progress({"one": double.remote(1)}) == {"one": 2}
    assert flame.progress(double.remote(n) for n in range(3)) == [0, 2, 4]
    assert flame.progress([]) == []


def test_progress_raises_the_first_failure_and_ends_its_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(ValueError, match="negative"):
        flame.progress([double.remote(-1)])
    assert capsys.readouterr().err.endswith(" s\n")


def test_progress_of_something_that_is_no_ref_says_so() -> None:
    with pytest.raises(flame.RefMisuseError, match=r"progress\(\) takes ObjectRefs"):
        flame.progress([3])  # type: ignore[list-item]


@pytest.mark.parametrize("items_of", [range, lambda n: iter(range(n))], ids=["sized", "endless"])
def test_map_shows_its_progress(
    items_of: Callable[[int], Iterable[int]], capsys: pytest.CaptureFixture[str]
) -> None:
    results = double.map(items_of(30), progress=True)
    assert list(results) == [2 * n for n in range(30)]
    assert re.fullmatch(r"double: 30 (of 30 )?done in .*\n", capsys.readouterr().err)


def test_the_other_maps_show_it_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(double.starmap([(1,), (2,)], progress=True)) == [2, 4]
    assert sorted(double.map_unordered([1, 2], progress=True)) == [2, 4]
    assert capsys.readouterr().err.count("double: 2 of 2 done in") == 2


def test_on_a_terminal_a_bar_is_drawn_over_itself() -> None:
    terminal = Terminal()
    with Bar(2, "work", terminal) as bar:
        bar.advance()
        bar.advance()
    lines = terminal.getvalue().split("\r")
    assert lines[1].startswith("work:   0% [...")
    assert lines[-1].rstrip(" \n").startswith("work: 2 of 2 done in")
    # What is left of a longer line is covered.
    assert len(lines[-1].rstrip("\n")) >= len(lines[-2].rstrip())


def test_nobody_who_reads_it_does_not_end_the_work() -> None:
    closed = io.StringIO()
    closed.close()
    with Bar(1, "work", closed) as bar:
        bar.advance()
