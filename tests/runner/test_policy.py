"""How many instances serve a target, and whether they keep their state."""

from __future__ import annotations

from typing import Any

import pytest

import flame_remote as flame
from flame_remote.runner import Policy
from flame_remote.runner.subject import Subject, SubjectKind


class Counter:
    def add(self) -> None: ...


class Adder:
    def __call__(self, x: int) -> int:
        return x


def policy(target: Any, stateful: bool | None = None, **options: Any) -> Policy:
    return Policy.of(Subject.of(target, stateful=stateful), stateful, **options)


@pytest.mark.parametrize(
    ("target", "options", "expected"),
    [
        (len, {}, Policy(True, 0, None)),
        (len, {"warmup": 3}, Policy(True, 3, None)),
        (len, {"autoscale": False}, Policy(False, 1, 1)),
        (len, {"autoscale": False, "warmup": 3}, Policy(False, 3, 3)),
        (Counter, {}, Policy(False, 1, 1)),
        (Counter, {"warmup": 2}, Policy(False, 2, 2)),
        (Counter, {"autoscale": True}, Policy(True, 0, None)),
        (Counter(), {}, Policy(False, 1, 1)),
        (Counter(), {"autoscale": True, "warmup": 1}, Policy(True, 1, None)),
        (Counter(), {"stateful": True}, Policy(False, 1, 1, stateful=True)),
        (Counter(), {"stateful": True, "warmup": 1}, Policy(False, 1, 1, stateful=True)),
        (Counter(), {"stateful": False}, Policy(False, 1, 1)),
        (Adder(), {}, Policy(True, 0, None)),  # what can be called is a function
        (Adder(), {"stateful": True}, Policy(False, 1, 1, stateful=True)),
    ],
)
def test_the_kind_of_target_and_the_options_decide(
    target: Any, options: dict[str, Any], expected: Policy
) -> None:
    assert policy(target, **options) == expected


@pytest.mark.parametrize(
    ("target", "options", "text"),
    [
        (len, {"stateful": True}, "a function has no state: pass an instance of a class"),
        (Counter, {"stateful": True}, "a class has no state yet: pass an instance, Counter(...)"),
        (Counter(), {"stateful": True, "autoscale": True}, "does not go with autoscale=True"),
        (Counter(), {"stateful": True, "warmup": 2}, "does not go with warmup=2"),
        (len, {"warmup": -1}, "warmup must be 0 or more, not -1"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    target: Any, options: dict[str, Any], text: str
) -> None:
    with pytest.raises(flame.InvalidOptionError) as caught:
        policy(target, **options)
    assert text in str(caught.value)


@pytest.mark.parametrize("options", [{"warmup": "2"}, {"autoscale": 1}, {"stateful": "yes"}])
def test_options_of_a_wrong_type_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=next(iter(options))):
        policy(Counter(), **options)


def test_a_policy_tells_itself_to_people() -> None:
    texts = [
        str(Policy(False, 1, 1, True)),
        str(Policy(False, 3, 3)),
        str(Policy(True, 0, None)),
    ]
    assert texts == ["1 instance, stateful", "3 instances", "0 to any number of instances"]


def test_a_subject_has_the_public_methods_of_its_class_and_its_own() -> None:
    class Thing(Counter):
        limit = 3

        def _private(self) -> None: ...

        @property
        def size(self) -> int:
            return 1

        @staticmethod
        def twice(x: int) -> int:
            return 2 * x

    thing = Thing()
    thing.callback = len  # type: ignore[attr-defined]
    subject = Subject.of(thing)
    assert subject.kind is SubjectKind.INSTANCE
    assert set(subject.methods) == {"add", "callback", "twice"}


def test_what_is_remote_already_is_unwrapped_or_refused() -> None:
    assert Subject.of(flame.remote(Counter)).value is Counter

    def area(radius: int) -> int:
        return 3 * radius**2

    assert Subject.of(flame.remote(area)).value is area
    with flame.init("inline"), pytest.raises(TypeError, match="which is remote already"):
        Subject.of(flame.remote(Counter).remote())
