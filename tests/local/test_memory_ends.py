from __future__ import annotations

import signal
from typing import Any

import pytest

from flame_remote._local import memory_ends
from flame_remote._local.memory_ends import MemoryEnds


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Stand in for the control group, whose limit a test cannot set."""
    says: dict[str, Any] = {"limit": 64 << 20, "kills": 5}
    monkeypatch.setattr(memory_ends, "memory_limit_bytes", lambda: says["limit"])
    monkeypatch.setattr(memory_ends, "count_oom_kills", lambda: says["kills"])
    return says


def test_a_kill_without_news_of_the_group_names_the_limit_only(group: dict[str, Any]) -> None:
    note = MemoryEnds().note(signal.SIGKILL)
    assert note == " of the 64 MiB that its control group allows"


def test_a_kill_for_want_of_memory_says_so_once(group: dict[str, Any]) -> None:
    ends = MemoryEnds()
    group["kills"] += 1
    assert "ended a process of the group for want of memory" in ends.note(signal.SIGKILL)
    assert "want of memory" not in ends.note(signal.SIGKILL)


def test_other_ends_and_unlimited_groups_need_no_note(group: dict[str, Any]) -> None:
    ends = MemoryEnds()
    assert ends.note(None) == ends.note(signal.SIGSEGV) == ends.note(3 << 8) == ""
    group["limit"] = None
    assert ends.note(signal.SIGKILL) == ""
