"""Much output, and output that is no text."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

import flame_remote as flame

from .helpers import Pipe, require_alive, say

pytestmark = pytest.mark.usefixtures("engine")


def test_100_000_lines_arrive_whole(capsys: pytest.CaptureFixture[str]) -> None:
    @flame.remote
    def talk(who: str) -> None:
        for n in range(50_000):
            print(f"{who} says {n} of ☃")

    flame.get([talk.remote("first"), talk.remote("second")])
    flame.shutdown()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 100_000
    for who in ("first", "second"):
        said = [line for line in lines if f" {who} says " in line]
        assert [int(re.findall(r"(\d+) of ☃$", line)[0]) for line in said] == list(range(50_000))
        assert all(re.match(r"\(talk pid=\d+\) ", line) for line in said)


def test_bytes_that_are_no_text_do_no_harm(capsys: pytest.CaptureFixture[str]) -> None:
    @flame.remote
    def babble() -> int:
        return sum(os.write(1, bytes(range(256)) * 256) for _ in range(100))

    assert flame.get(babble.remote()) == 100 * 65536
    require_alive()
    flame.shutdown()
    assert len(capsys.readouterr().out) >= 100 * 32768


def test_output_after_which_the_process_ends_is_not_lost(
    capsys: pytest.CaptureFixture[str],
) -> None:
    @flame.remote(max_retries=0)
    def say_goodbye() -> None:
        print("so long " * 1000)
        os._exit(1)

    with pytest.raises(flame.WorkerCrashedError):
        flame.get(say_goodbye.remote())
    flame.shutdown()
    assert capsys.readouterr().out.count("so long") == 1000


def test_a_session_ends_while_tasks_print(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    @flame.remote
    def talk_forever(started: str) -> None:
        print("first")
        say(started, "talking")
        while True:
            print("and so on")

    with Pipe(tmp_path) as started:
        refs = [talk_forever.remote(started.path) for _ in range(2)]
        started.line()
        started.line()
    flame.shutdown()
    assert refs
    assert capsys.readouterr().out.count(" first\n") == 2
