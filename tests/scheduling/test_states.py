from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

import pytest

from flame_remote._scheduling.states import (
    ACTOR_TRANSITIONS,
    TASK_TRANSITIONS,
    ActorState,
    InvalidTransition,
    TaskState,
    TaskStep,
    advance,
)

TABLES = [(TASK_TRANSITIONS, TaskState.PENDING), (ACTOR_TRANSITIONS, ActorState.WAITING)]


def test_step_leads_from_one_state_to_the_next() -> None:
    assert advance(TASK_TRANSITIONS, TaskState.READY, TaskStep.SENT) is TaskState.ASSIGNED


def test_step_that_is_not_in_the_table_names_state_and_step() -> None:
    with pytest.raises(InvalidTransition, match=r"TaskStep\.SENT: 1.*TaskState\.FAILED: 4"):
        advance(TASK_TRANSITIONS, TaskState.FAILED, TaskStep.SENT)


@pytest.mark.parametrize(("table", "first"), TABLES)
def test_every_state_can_be_reached(
    table: Mapping[tuple[IntEnum, IntEnum], IntEnum], first: IntEnum
) -> None:
    reached = {first}
    for _ in table:
        reached |= {to for (state, _), to in table.items() if state in reached}
    assert reached == set(type(first))


@pytest.mark.parametrize(("table", "first"), TABLES)
def test_every_step_happens_somewhere(
    table: Mapping[tuple[IntEnum, IntEnum], IntEnum], first: IntEnum
) -> None:
    steps = {step for _, step in table}
    assert steps == set(type(next(iter(steps))))


def test_nothing_happens_to_what_has_ended() -> None:
    ended = {TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED}
    assert {state for state, _ in TASK_TRANSITIONS} == set(TaskState) - ended
    assert {state for state, _ in ACTOR_TRANSITIONS} == set(ActorState) - {ActorState.DEAD}
