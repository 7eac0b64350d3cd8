"""How many instances serve a target."""

from __future__ import annotations

from flame_remote._spec import TargetKind
from flame_remote.runner import Policy


def test_a_function_runs_on_as_many_instances_as_there_is_demand_for() -> None:
    assert Policy.of(TargetKind.FUNCTION) == Policy(True, 0, None)


def test_a_class_and_an_instance_are_fixed_to_one() -> None:
    assert Policy.of(TargetKind.ACTOR) == Policy(False, 1, 1)
    assert Policy.of(TargetKind.METHOD) == Policy(False, 1, 1)
