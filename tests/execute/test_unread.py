from __future__ import annotations

import pytest

from flame_remote._execute.failure import encode_error, encode_failure
from flame_remote._execute.unread import report_unread
from flame_remote.exceptions import ActorDiedError, TaskCancelledError


def test_an_unread_error_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    report_unread(encode_failure(ValueError("lost"), "f", 1, 2))
    assert "an error of f() was never looked at" in caplog.text
    assert "ValueError: lost" in caplog.text


def test_an_unread_error_of_the_engine_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    report_unread(encode_error(ActorDiedError("Counter", "it was killed")))
    assert "actor Counter is dead: it was killed" in caplog.text


def test_nothing_is_said_of_a_cancelled_task(caplog: pytest.LogCaptureFixture) -> None:
    report_unread(encode_error(TaskCancelledError("f")))
    assert caplog.text == ""
