from __future__ import annotations

from dataclasses import replace

import pytest

from flame_remote._ids import TaskId
from flame_remote._scheduling.actors import CALLS_AHEAD, Actors, begun_calls
from flame_remote._scheduling.records import TaskRecord
from flame_remote._scheduling.states import ActorState, TaskState

from .helpers import actor_class, call, calls, function, method


class Stage:
    """Actors, and the tasks that they read."""

    def __init__(self) -> None:
        self.tasks: dict[TaskId, TaskRecord] = {}
        self.actors = Actors(self.tasks)

    def actor(self, *, alive: bool = True, max_concurrency: int = 1) -> TaskRecord:
        """Make an actor; return its constructor."""
        creation = call(actor_class(max_concurrency=max_concurrency))
        self.tasks[creation.spec.id] = creation
        self.actors.add(creation)
        if alive:
            self.actors.starting(creation.spec.id, 9)
            self.actors.constructed(creation.spec.id)
            del self.tasks[creation.spec.id]
        return creation

    def queue(self, *records: TaskRecord, late: bool = False) -> None:
        """Queue calls."""
        for record in records:
            self.tasks[record.spec.id] = record
            record.state = TaskState.PENDING if late else TaskState.READY
            assert self.actors.add_call(record)

    def sent(self, creation: TaskRecord) -> list[TaskRecord]:
        """Return the calls that may be sent now."""
        return self.actors.take_calls(creation.spec.id)[1]


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_calls_are_sent_in_order_once(stage: Stage) -> None:
    actor = stage.actor()
    first, *others = calls(3, method(), on=actor)
    stage.queue(first, *others)
    assert stage.actors.take_calls(actor.spec.id) == (9, [first, *others])
    assert stage.sent(actor) == []


def test_nothing_is_sent_before_the_constructor_has_returned(stage: Stage) -> None:
    actor = stage.actor(alive=False)
    record = call(method(), on=actor)
    stage.queue(record)
    assert stage.sent(actor) == []
    stage.actors.starting(actor.spec.id, 9)
    assert stage.sent(actor) == []
    stage.actors.constructed(actor.spec.id)
    assert stage.sent(actor) == [record]


def test_call_with_late_arguments_holds_up_those_behind_it(stage: Stage) -> None:
    actor = stage.actor()
    first, late, last = calls(3, method(), on=actor)
    stage.queue(first)
    stage.queue(late, late=True)
    stage.queue(last)
    assert stage.sent(actor) == [first]
    late.state = TaskState.READY
    assert stage.sent(actor) == [late, last]


def test_late_call_that_has_ended_holds_up_nobody(stage: Stage) -> None:
    actor = stage.actor()
    late, last = calls(2, method(), on=actor)
    stage.queue(late, late=True)
    stage.queue(last)
    late.state = TaskState.CANCELLED
    del stage.tasks[late.spec.id]
    assert stage.sent(actor) == [last]


def test_callers_do_not_wait_for_each_other(stage: Stage) -> None:
    actor = stage.actor()
    late = call(method(), on=actor)
    other = call(method(), on=actor, made_by=3)
    stage.queue(late, late=True)
    stage.queue(other)
    assert stage.sent(actor) == [other]


def test_two_tasks_are_two_callers_even_in_one_process(stage: Stage) -> None:
    # One may run on top of the other, and the other wait for it.
    actor, outer, inner = stage.actor(), call(), call(made_by=3)
    stage.tasks |= {outer.spec.id: outer, inner.spec.id: inner}
    late = call(method(), on=actor, made_by=3, parent=outer)
    other = call(method(), on=actor, made_by=3, parent=inner)
    stage.queue(late, late=True)
    stage.queue(other)
    assert stage.sent(actor) == [other]


def test_methods_of_a_plain_actor_are_one_caller(stage: Stage) -> None:
    actor, caller = stage.actor(), stage.actor()
    first, second = calls(2, method(), on=caller, made_by=3)
    stage.queue(first, second)
    late = call(method(), on=actor, made_by=3, parent=first)
    behind = call(method(), on=actor, made_by=3, parent=second)
    stage.queue(late, late=True)
    stage.queue(behind)
    assert stage.sent(actor) == []


def test_methods_that_run_beside_each_other_are_callers_of_their_own(stage: Stage) -> None:
    actor, caller = stage.actor(), stage.actor(max_concurrency=2)
    first, second = calls(2, method(), on=caller, made_by=3)
    stage.queue(first, second)
    late = call(method(), on=actor, made_by=3, parent=first)
    other = call(method(), on=actor, made_by=3, parent=second)
    stage.queue(late, late=True)
    stage.queue(other)
    assert stage.sent(actor) == [other]


def test_only_so_many_calls_are_sent_ahead(stage: Stage) -> None:
    actor = stage.actor()
    records = calls(CALLS_AHEAD + 10, method(), on=actor)
    stage.queue(*records)
    sent = stage.sent(actor)
    assert sent == records[: CALLS_AHEAD + 1]
    stage.actors.call_left(sent[0])
    assert stage.sent(actor) == records[CALLS_AHEAD + 1 : CALLS_AHEAD + 2]


def test_callers_take_turns_when_there_is_too_much(stage: Stage) -> None:
    actor = stage.actor()
    many = calls(2 * CALLS_AHEAD, method(), on=actor)
    few = calls(2, method(), on=actor, made_by=3)
    stage.queue(*many, *few)
    sent = stage.sent(actor)
    for record in sent[:5]:
        stage.actors.call_left(record)
    assert stage.sent(actor) == [*few, *many[len(sent) : len(sent) + 3]]


def test_actor_leaves_when_nobody_can_call_it_and_nothing_is_left(stage: Stage) -> None:
    actor = stage.actor()
    record = call(method(), on=actor)
    stage.queue(record)
    assert not stage.actors.may_leave(actor.spec.id)
    stage.actors.released(actor.spec.id)
    assert not stage.actors.may_leave(actor.spec.id)
    stage.sent(actor)
    assert not stage.actors.may_leave(actor.spec.id)
    stage.actors.call_left(record)
    assert stage.actors.may_leave(actor.spec.id)


def test_actor_that_nobody_can_call_any_more_is_still_constructed(stage: Stage) -> None:
    actor = stage.actor(alive=False)
    stage.actors.released(actor.spec.id)
    assert not stage.actors.may_leave(actor.spec.id)
    stage.actors.starting(actor.spec.id, 9)
    stage.actors.constructed(actor.spec.id)
    assert stage.actors.may_leave(actor.spec.id)


def test_actor_whose_worker_was_lost_waits_for_another(stage: Stage) -> None:
    actor = stage.actor(alive=False)
    stage.actors.starting(actor.spec.id, 9)
    stage.actors.lost(actor.spec.id)
    record = stage.actors.table[actor.spec.id]
    assert (record.state, record.worker_id) == (ActorState.WAITING, 0)


def test_dead_actor_hands_out_all_its_calls_and_takes_no_more(stage: Stage) -> None:
    actor = stage.actor()
    sent, late = calls(2, method(), on=actor)
    stage.queue(sent)
    stage.sent(actor)
    stage.queue(late, late=True)
    assert stage.actors.bury(actor.spec.id) == [actor, sent, late]
    assert not stage.actors.add_call(call(method(), on=actor))
    assert stage.sent(actor) == []
    assert not stage.actors.may_leave(actor.spec.id)
    stage.actors.call_left(late)
    stage.actors.released(actor.spec.id)


def test_actors_are_looked_at_once_when_something_has_changed(stage: Stage) -> None:
    one, two = stage.actor(), stage.actor()
    stage.actors.take_stirred()
    stage.actors.stir(one.spec.id)
    stage.actors.released(two.spec.id)
    stage.actors.stir(one.spec.id)
    assert list(stage.actors.take_stirred()) == [one.spec.id, two.spec.id]
    assert list(stage.actors.take_stirred()) == []


def test_function_that_has_ended_is_no_caller(stage: Stage) -> None:
    # A thread that it left behind goes on calling.
    actor, gone = stage.actor(), call(function(), made_by=3)
    first, second = calls(2, method(), on=actor, made_by=3, parent=gone)
    stage.queue(first, second)
    assert stage.sent(actor) == [first, second]
    assert first.caller == second.caller == -3


def grouped_actor(stage: Stage) -> TaskRecord:
    """Return the constructor of an actor with one call at a time, and two in the group "io"."""
    creation = stage.actor(max_concurrency=3)
    creation.spec.target = replace(creation.spec.target, groups=(("io", 2),))
    return creation


def test_a_group_that_has_been_sent_all_it_may_takes_nothing_from_the_others(stage: Stage) -> None:
    actor = grouped_actor(stage)
    many = calls(CALLS_AHEAD + 10, method(group="io"), on=actor)
    stage.queue(*many)
    assert stage.sent(actor) == many[: CALLS_AHEAD + 3]
    other = call(method(), on=actor)
    stage.queue(other)
    assert stage.sent(actor) == [other]
    stage.actors.call_left(many[0])
    assert stage.sent(actor) == [many[CALLS_AHEAD + 3]]


def test_a_late_argument_holds_up_its_own_group_only(stage: Stage) -> None:
    actor = grouped_actor(stage)
    late, behind = calls(2, method(group="io"), on=actor)
    other = call(method(), on=actor)
    stage.queue(late, late=True)
    stage.queue(behind, other)
    assert stage.sent(actor) == [other]
    late.state = TaskState.READY
    assert stage.sent(actor) == [late, behind]


def test_of_each_group_so_many_calls_have_begun_as_run_at_a_time(stage: Stage) -> None:
    actor = grouped_actor(stage)
    io, plain = calls(3, method(group="io"), on=actor), calls(2, method(), on=actor)
    stage.queue(*io, *plain)
    stage.sent(actor)
    assert list(begun_calls(stage.actors.table[actor.spec.id])) == [*io[:2], plain[0]]
