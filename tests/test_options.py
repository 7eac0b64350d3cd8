"""Options of functions, classes and calls."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import pytest

from flame_remote._options import (
    ActorOptions,
    ActorOptionsDict,
    MethodOptions,
    MethodOptionsDict,
    TaskOptions,
    TaskOptionsDict,
    changed,
    demand_of,
)
from flame_remote._spec import Demand
from flame_remote.exceptions import InvalidOptionError


def test_a_task_takes_one_cpu_and_is_tried_again_three_times() -> None:
    assert TaskOptions().amounts() == {"CPU": 1, "GPU": 0}
    assert TaskOptions().max_retries == 3


def test_an_actor_takes_nothing_and_is_not_tried_again() -> None:
    assert demand_of(ActorOptions()) == Demand()
    assert ActorOptions().max_retries == 0


def test_changes_leave_the_other_options_and_the_original_as_they_were() -> None:
    before = TaskOptions(num_gpus=1)
    after = changed(before, {"num_cpus": 0.5, "name": "f", "max_retries": -1}, "f")
    assert after == TaskOptions(num_cpus=0.5, num_gpus=1, name="f", max_retries=-1)
    assert before == TaskOptions(num_gpus=1)


def test_resources_become_demand_with_exact_amounts() -> None:
    options = changed(TaskOptions(), {"resources": {"b": 0.1, "a": 2}, "num_cpus": 0}, "f")
    assert demand_of(options) == (("a", 20_000), ("b", 1_000))
    assert hash(options) == hash(
        changed(TaskOptions(num_cpus=0), {"resources": {"a": 2, "b": 0.1}}, "f")
    )


def test_an_unknown_option_is_refused_with_the_nearest_name_and_the_list() -> None:
    with pytest.raises(InvalidOptionError) as caught:
        changed(TaskOptions(), {"num_cpu": 1}, "the function f")
    assert str(caught.value).startswith(
        "the function f has no option 'num_cpu' (did you mean 'num_cpus'?); "
        "options: num_cpus, num_gpus, resources, max_retries, name"
    )
    with pytest.raises(InvalidOptionError, match=r"no option 'zzz'; options"):
        changed(ActorOptions(), {"zzz": 1}, "the class C")


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("num_cpus", "2", "num_cpus must be a number, not str ('2')"),
        ("num_gpus", True, "num_gpus must be a number, not bool (True)"),
        ("max_retries", 1.5, "max_retries must be a whole number, not float (1.5)"),
        ("max_concurrency", None, "max_concurrency must be a whole number, not NoneType (None)"),
        ("name", 3, "name must be a string, not int (3)"),
        ("resources", ["a"], "resources must be a dict such as {'license': 1}, not list (['a'])"),
        ("resources", {1: 1}, "resources must have names as keys, not int (1)"),
        ("resources", {"a": "b"}, "resources['a'] must be a number, not str ('b')"),
    ],
)
def test_a_wrong_type_names_the_option_what_is_expected_and_what_came(
    name: str, value: Any, text: str
) -> None:
    with pytest.raises(TypeError) as caught:
        changed(ActorOptions(), {name: value}, "C")
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_cpus", -1),
        ("num_cpus", math.inf),
        ("num_cpus", math.nan),
        ("max_retries", -2),
        ("max_concurrency", 0),
        ("name", ""),
        ("resources", {"CPU": 1}),
        ("resources", {"GPU": 1}),
        ("resources", {"a": -1}),
    ],
)
def test_a_value_out_of_range_is_refused(name: str, value: Any) -> None:
    with pytest.raises(InvalidOptionError, match=name):
        changed(ActorOptions(), {name: value}, "C")


@pytest.mark.parametrize(
    ("options", "typed"),
    [
        (TaskOptions, TaskOptionsDict),
        (ActorOptions, ActorOptionsDict),
        (MethodOptions, MethodOptionsDict),
    ],
)
def test_type_checkers_know_the_same_options(options: Any, typed: Any) -> None:
    assert [field.name for field in fields(options)] == list(typed.__annotations__)
