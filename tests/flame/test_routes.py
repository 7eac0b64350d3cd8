"""Which session a call goes to, and with which resources."""

from __future__ import annotations

from typing import Any

import pytest

from flame_remote._flame.batching import Pace
from flame_remote._flame.program import Program
from flame_remote._flame.routes import Routes, refuse_limits, resources_of
from flame_remote._spec import CallLimits, Demand, ServicePolicy, Target, TargetKind, TaskSpec
from flame_remote.exceptions import InvalidOptionError

PROGRAM = Program("session", "app", "app-actors", "owner", ((2.0, 0.0), (4.0, 1.0)))


def routes() -> Routes:
    return Routes(PROGRAM, Pace())


def target(kind: TargetKind = TargetKind.FUNCTION, number: int = 1, **more: Any) -> Target:
    values: dict[str, Any] = {"demand": Demand.of({"CPU": 1}), "max_retries": 0, **more}
    return Target(number, kind, "f", b"code", **values)


def call(of: Target, number: int = 7) -> TaskSpec:
    return TaskSpec(number, of, ())


def test_functions_that_take_the_same_share_a_session() -> None:
    some = routes()
    first = some.lane_of(call(target(number=1)))
    assert some.lane_of(call(target(number=2))) is first
    assert first.plan.session_id == "app-default"
    larger = some.lane_of(call(target(number=1, demand=Demand.of({"CPU": 2}))))
    assert larger.plan.session_id == f"app-2-{2 << 30}-0"


def test_an_actor_has_a_session_of_its_own_with_one_instance() -> None:
    some = routes()
    actor = target(TargetKind.ACTOR, demand=Demand())
    plans = [some.lane_of(call(actor, number)).plan for number in (1, 2)]
    assert [plan.session_id for plan in plans] == ["app-actors-1", "app-actors-2"]
    assert {(plan.application, plan.min_instances, plan.max_instances) for plan in plans} == {
        ("app-actors", 1, 1)
    }


def test_a_service_of_a_runner_has_the_session_that_its_policy_names() -> None:
    some = routes()
    policy = ServicePolicy("runner", "mine", 2, 5, (1, 1 << 30, 0))
    service = target(policy=policy)
    lane = some.lane_of(call(service))
    assert lane.plan.session_id == "mine"
    assert (lane.plan.min_instances, lane.plan.max_instances) == (2, 5)
    assert some.forget(service) is lane
    assert some.forget(service) is None
    actor = some.lane_of(call(target(TargetKind.ACTOR, policy=policy)))
    assert (actor.plan.application, actor.plan.session_id) == ("runner", "mine")


def test_an_actor_of_somebody_else_is_there_already() -> None:
    lane = routes().lane_of(("their session", "their app", 3))
    assert lane.is_known
    assert lane.is_begun
    assert lane.address == ("their session", "their app", 3)


@pytest.mark.parametrize(
    ("amounts", "resources"),
    [
        ({"CPU": 1}, None),
        ({"CPU": 0.5}, None),
        ({"CPU": 1.5}, (2, 2 << 30, 0)),
        ({}, (0, 128 << 20, 0)),
        ({"CPU": 1, "GPU": 0.5}, (1, 1 << 30, 1)),
        ({"CPU": 1, "memory": 1 << 20}, (1, 1 << 20, 0)),
    ],
)
def test_resources_are_whole_cpus_and_gpus_and_bytes(
    amounts: dict[str, float], resources: tuple[int, int, int] | None
) -> None:
    assert resources_of(Demand.of(amounts)) == resources


def test_the_room_for_instances_is_that_of_all_nodes() -> None:
    assert PROGRAM.instances == 6
    assert Program("s", "a", "b", "o", ()).instances == 4  # nobody knows


def test_limits_are_refused_by_name() -> None:
    refuse_limits("f", CallLimits(timeout=1.0, deadline=2.0, memory_bytes=1))
    for name, limits in {
        "priority": CallLimits(priority=1),
        "max_calls": CallLimits(max_calls=1),
    }.items():
        with pytest.raises(
            InvalidOptionError, match=f"f: {name} needs an engine on this machine: "
        ):
            refuse_limits("f", limits)
