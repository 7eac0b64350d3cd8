"""What is said of an actor that ends by itself."""

from __future__ import annotations

import enum

import pytest

from flame_remote._execute.actor_exit import ActorExit, how_it_exits
from flame_remote._execute.producing import Producer


class Code(enum.IntEnum):
    WRONG = 3


class Mute:
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


@pytest.mark.parametrize(
    ("error", "call"),
    [
        (ActorExit(), "flame.exit_actor()"),
        (SystemExit(), "sys.exit()"),
        (SystemExit(0), "sys.exit(0)"),
        (SystemExit(Code.WRONG), "sys.exit(3)"),
        (SystemExit("bye"), "sys.exit('bye')"),
        (SystemExit(Mute()), "sys.exit(<its __str__ raised RuntimeError>)"),
    ],
    ids=["exit_actor", "no code", "zero", "a number of a kind", "a text", "something mute"],
)
def test_it_is_said_with_what_an_actor_has_ended(error: BaseException, call: str) -> None:
    assert how_it_exits(error, object()) == f"it has ended by itself, with {call}"


def test_a_long_text_is_cut() -> None:
    assert len(how_it_exits(SystemExit("x" * 10_000), object())) < 400


def test_other_errors_and_those_of_generator_functions_end_no_actor() -> None:
    assert how_it_exits(ValueError(1), object()) == ""
    assert how_it_exits(KeyboardInterrupt(), object()) == ""
    assert how_it_exits(SystemExit(1), Producer(iter([]))) == ""
