from __future__ import annotations

from decimal import Decimal

from flame_remote._execute.text import message_of, shorten, type_name


def test_a_short_text_stays_as_it_is() -> None:
    assert shorten("abc", 3) == "abc"
    assert shorten(b"abc", 3) == b"abc"


def test_a_long_text_keeps_both_ends_and_says_how_much_is_gone() -> None:
    assert shorten("a" * 10 + "b" * 10, 4) == "aa... [16 left out] ...bb"
    assert shorten(b"a" * 10 + b"b" * 10, 4) == b"aa... [16 left out] ...bb"


def test_a_class_is_named_as_in_a_traceback() -> None:
    assert type_name(ValueError) == "ValueError"
    assert type_name(Decimal) == "decimal.Decimal"


def test_the_message_of_an_error_that_has_none_says_why() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise KeyError("x")

    assert message_of(Mute(), 100) == "<its __str__ raised KeyError>"
    assert message_of(ValueError("x" * 1000), 100).startswith("x" * 50 + "... [900 left out]")
