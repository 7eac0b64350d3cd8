from __future__ import annotations

import dataclasses
import json
import pickle
import subprocess
import threading
import urllib.error
from email.message import Message
from typing import Any

import pytest

from flame_remote._execute.portable import dump_exception, load_exception, new_exception


class TwoArguments(Exception):
    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{reason} ({code})")
        self.code = code


class KeywordOnly(OSError):
    def __init__(self, *, where: str) -> None:
        super().__init__(2, "missing", where)
        self.where = where


class WithSlots(ValueError):
    __slots__ = ("code", "never_set")

    def __init__(self, code: int) -> None:
        super().__init__("slots")
        self.code = code


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    code: int


class OwnRules(Exception):
    def __init__(self, code: int) -> None:
        self.code = code

    def __reduce__(self) -> tuple[Any, ...]:
        return OwnRules, (self.code + 1,)


class BadRules(Exception):
    def __reduce__(self) -> tuple[Any, ...]:
        return int, ()


def over(error: BaseException) -> Any:
    data, _ = dump_exception(error)
    assert data is not None
    return load_exception(data)


def unicode_error() -> Exception:
    return UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")


@pytest.mark.parametrize(
    "error",
    [
        ValueError(),
        ValueError("a", 2, None),
        KeyError("key"),
        OSError(13, "denied", "file"),
        FileNotFoundError(2, "missing", "from", None, "to"),
        ImportError("no", name="module", path="path"),
        SyntaxError("bad", ("file.py", 1, 2, "x =")),
        StopIteration(5),
        SystemExit(3),
        unicode_error(),
        json.JSONDecodeError("bad", "doc", 1),
        subprocess.CalledProcessError(1, ["cmd"], b"out", b"err"),
        subprocess.TimeoutExpired(["cmd"], 5.0),
        urllib.error.HTTPError("http://x", 404, "not found", Message(), None),
        TwoArguments(5, "bad"),
        KeywordOnly(where="here"),
        WithSlots(5),
        Frozen(5),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_exception_arrives_with_all_it_had(error: BaseException) -> None:
    got = over(error)
    assert type(got) is type(error)
    assert got.args == error.args
    assert str(got) == str(error)
    names = [name for name in dir(error) if not name.startswith("_") and name != "fp"]
    for name in names:
        value = getattr(error, name, None)
        if isinstance(value, (int, str, bytes, tuple, list, float)):
            assert getattr(got, name) == value, name


def test_an_exception_of_a_class_with_its_own_rules_follows_them() -> None:
    assert over(OwnRules(1)).code == 2


def test_an_exception_whose_rules_make_something_else_travels_by_its_state() -> None:
    assert type(over(BadRules("x"))) is BadRules


def test_a_local_class_travels_by_value_and_comes_back_as_itself() -> None:
    class Local(Exception):
        pass

    assert type(over(Local(1))) is Local


def test_what_cannot_be_sent_is_left_out_and_named() -> None:
    error: Any = ValueError("text", threading.Lock())
    error.lock = threading.Lock()
    error.fine = [1]
    data, remark = dump_exception(error)
    assert data is not None
    got: Any = load_exception(data)
    assert got.args[0] == "text"
    assert "lock" in got.args[1]
    assert got.fine == [1]
    assert not hasattr(got, "lock")
    assert remark == "(its lock could not be sent along)"


def test_what_is_large_is_shortened_or_left_out() -> None:
    error: Any = ValueError("x" * 10_000_000)
    error.text = "y" * 10_000_000
    error.table = list(range(1_000_000))
    data, remark = dump_exception(error)
    assert data is not None
    assert len(data) < 200_000
    got: Any = load_exception(data)
    assert got.args[0].startswith("xxx")
    assert "left out" in got.text
    assert "table" in remark


def test_the_object_that_lacks_an_attribute_is_not_sent_along() -> None:
    with pytest.raises(AttributeError) as caught:
        threading.Lock().nothing  # type: ignore[attr-defined]  # noqa: B018
    got = over(caught.value)
    assert got.name == "nothing"
    assert got.obj is None


def test_an_exception_of_which_nothing_can_travel_is_none() -> None:
    class Meta(type):
        def __reduce__(cls) -> Any:  # type: ignore[override]
            raise RuntimeError("never")

        def __getattribute__(cls, name: str) -> Any:
            if name in ("__dict__", "__qualname__", "__module__"):
                raise RuntimeError("never")
            return super().__getattribute__(name)

    bad = Meta("Bad", (Exception,), {})
    try:
        data, _ = dump_exception(bad("x"))
    except RuntimeError:
        data = None  # left to the caller, who expects anything of a user's class
    assert data is None


def test_bytes_of_something_else_are_refused() -> None:
    with pytest.raises(TypeError, match="became a int"):
        load_exception(pickle.dumps(5))


def test_what_lay_in_slots_that_a_class_lost_on_its_way_is_put_into_them() -> None:
    error: Any = new_exception(WithSlots, ("slots",), {"code": 5, "note": "x"}, {})
    assert (error.code, error.note) == (5, "x")
