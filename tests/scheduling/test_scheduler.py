"""The scheduler as a whole: what its events lead to, where that is no other file's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flame_remote._scheduling.actors import MAX_LOST_IN_A_ROW
from flame_remote._scheduling.commands import (
    EndActor,
    Ending,
    EndTask,
    KillWorker,
    RestartActor,
    SendTasks,
    StartWorker,
    StopWorker,
)
from flame_remote._scheduling.events import (
    ActorExited,
    ActorKilled,
    ActorReleased,
    TasksEnded,
    TasksReturned,
    TasksSubmitted,
    TaskUnblocked,
    WorkerHeard,
    WorkerLost,
)
from flame_remote._scheduling.fleet import START_ATTEMPTS, START_PAUSE_SECONDS
from flame_remote._scheduling.records import TaskRecord
from flame_remote._scheduling.states import TaskState
from flame_remote._spec import Restarts, Target

from .helpers import Driven, actor_class, call, calls, ended_with, function, method


def test_unknown_event_is_refused() -> None:
    with pytest.raises(TypeError, match="not an event of the scheduler: 'hello'"):
        Driven().tell("hello")  # type: ignore[arg-type]


def test_answers_to_two_events_are_two_lists() -> None:
    driven, (one, two) = Driven(), calls(2)
    first = driven.submit(one)
    assert driven.submit(two) != first
    assert first == [StartWorker(1, 0), SendTasks(1, [one])]


@pytest.mark.parametrize(
    "event",
    [
        TasksEnded(7, [(1, True)], {}),
        TasksReturned(7, [1]),
        TaskUnblocked(7, 1),
        WorkerHeard(7),
        WorkerLost(7, 1),
        ActorReleased(7),
        ActorKilled(7),
        TasksSubmitted([]),
    ],
)
def test_what_is_said_of_somebody_who_is_gone_changes_nothing(event: object) -> None:
    assert Driven().tell(event) == []  # type: ignore[arg-type]


# --- processes that cannot be started -------------------------------------------------------


def test_tasks_fail_when_no_process_can_be_started() -> None:
    driven, (one, two) = Driven(CPU=1), calls(2)
    driven.submit(one, two)
    for worker_id in range(1, START_ATTEMPTS):
        assert driven.lose(worker_id) == [
            StartWorker(worker_id + 1, 0),
            SendTasks(worker_id + 1, [one]),
        ]
    assert ended_with(driven.lose(START_ATTEMPTS)) == {
        one.spec.id: Ending.UNSTARTABLE,
        two.spec.id: Ending.UNSTARTABLE,
    }
    assert driven.submit(call())[0] == StartWorker(START_ATTEMPTS + 1, 0)


def test_starting_waits_a_while_when_it_fails_beside_workers_that_live() -> None:
    driven, (one, two) = Driven(CPU=2), calls(2)
    driven.submit(one)
    driven.tell_heard(1)
    driven.submit(two)
    for worker_id in range(2, 2 + START_ATTEMPTS):
        decided = driven.lose(worker_id)
    assert decided == []
    assert driven.scheduler.next_tick == driven.now + START_PAUSE_SECONDS
    assert SendTasks(5, [two]) in driven.tick(START_PAUSE_SECONDS)


def test_actors_fail_when_no_process_can_be_started() -> None:
    driven, actor = Driven(), call(actor_class())
    add = call(method(), on=actor)
    driven.submit(actor, add)
    for worker_id in range(1, 1 + START_ATTEMPTS):
        decided = driven.lose(worker_id)
    assert decided == [
        EndTask(actor.spec.id, Ending.UNSTARTABLE),
        EndActor(actor.spec.id),
        EndTask(add.spec.id, Ending.ACTOR_DIED, actor.spec.id),
    ]


def test_surplus_workers_are_stopped_when_nobody_needs_them() -> None:
    driven, task = Driven(CPU=1), call()
    child = call(parent=task)
    driven.submit(task)
    driven.submit(child)
    driven.block(task, child, patient=False)
    driven.end(2, child)
    driven.unblock(task)
    assert driven.end(1, task) == [StopWorker(2)]


# --- actors ---------------------------------------------------------------------------------


def living_actor(driven: Driven) -> TaskRecord:
    actor = call(actor_class())
    driven.submit(actor)
    driven.end(actor.worker_id, actor)
    return actor


def test_actor_has_a_process_of_its_own() -> None:
    driven, actor = Driven(), call(actor_class())
    add = call(method(), on=actor)
    assert driven.submit(actor, add) == [
        StartWorker(1, actor.spec.id),
        SendTasks(1, [actor]),
    ]
    assert driven.end(1, actor) == [SendTasks(1, [add])]


def test_actor_without_handles_is_stopped_after_its_last_call() -> None:
    driven = Driven()
    actor = living_actor(driven)
    add = call(method(), on=actor)
    driven.submit(add)
    assert driven.tell(ActorReleased(actor.spec.id)) == []
    assert driven.end(1, add) == [StopWorker(1), EndActor(actor.spec.id)]
    assert driven.lose(1) == []
    assert not driven.scheduler.actors.table


def test_actor_whose_constructor_fails_fails_its_calls() -> None:
    driven, actor = Driven(), call(actor_class())
    add = call(method(), on=actor)
    driven.submit(actor, add)
    assert driven.end(1, actor, failed=True) == [
        StopWorker(1),
        EndActor(actor.spec.id),
        EndTask(add.spec.id, Ending.ACTOR_DIED, actor.spec.id),
    ]


def test_call_of_a_dead_actor_fails_with_what_takes_its_result() -> None:
    driven = Driven()
    actor = living_actor(driven)
    driven.tell(ActorKilled(actor.spec.id))
    add = call(method(), on=actor)
    after = call(after=[add])
    assert ended_with(driven.submit(add, after)) == {
        add.spec.id: Ending.ACTOR_DIED,
        after.spec.id: Ending.ARGUMENT_FAILED,
    }


def test_lost_actor_fails_its_calls_sent_or_not() -> None:
    driven = Driven()
    actor = living_actor(driven)
    late_argument = call()
    sent, late = call(method(), on=actor), call(method(), on=actor, after=[late_argument])
    driven.submit(sent, late_argument, late)
    assert ended_with(driven.lose(1, running=sent)) == {
        sent.spec.id: Ending.ACTOR_DIED,
        late.spec.id: Ending.ACTOR_DIED,
    }


def test_killed_actor_keeps_what_it_runs_until_its_process_is_gone() -> None:
    # Until then it may use what its arguments refer to: they must not be let go.
    driven = Driven()
    actor = living_actor(driven)
    late_argument = call()
    sent, late = call(method(), on=actor), call(method(), on=actor, after=[late_argument])
    driven.submit(sent, late_argument, late)
    assert driven.tell(ActorKilled(actor.spec.id)) == [
        KillWorker(1),
        EndActor(actor.spec.id),
        EndTask(late.spec.id, Ending.ACTOR_DIED, actor.spec.id),
    ]
    assert driven.tell(ActorKilled(actor.spec.id)) == []
    assert ended_with(driven.lose(1, running=sent)) == {sent.spec.id: Ending.ACTOR_DIED}


def test_call_that_has_returned_before_its_actor_was_dead_has_succeeded() -> None:
    driven = Driven()
    actor = living_actor(driven)
    add = call(method(), on=actor)
    driven.submit(add)
    driven.tell(ActorKilled(actor.spec.id))
    assert driven.end(1, add) == []
    assert add.state is TaskState.SUCCEEDED
    assert driven.lose(1) == []


def test_actor_that_is_killed_while_it_begins_is_not_begun_again() -> None:
    driven, actor = Driven(), call(actor_class(max_retries=3))
    add = call(method(), on=actor)
    driven.submit(actor, add)
    assert driven.tell(ActorKilled(actor.spec.id)) == [
        KillWorker(1),
        EndActor(actor.spec.id),
        EndTask(add.spec.id, Ending.ACTOR_DIED, actor.spec.id),
    ]
    assert driven.lose(1, running=actor) == [
        EndTask(actor.spec.id, Ending.ACTOR_DIED, actor.spec.id, worker_id=1)
    ]


def test_constructor_that_returns_after_its_actor_was_killed_has_no_actor() -> None:
    driven, actor = Driven(), call(actor_class())
    driven.submit(actor)
    driven.tell(ActorKilled(actor.spec.id))
    assert driven.end(1, actor) == []
    assert driven.lose(1) == []
    assert ended_with(driven.submit(call(method(), on=actor)))


def test_actor_is_constructed_again_if_it_may_be() -> None:
    driven, actor = Driven(), call(actor_class(max_retries=1))
    add = call(method(), on=actor)
    driven.submit(actor, add)
    assert driven.lose(1, running=actor) == [
        StartWorker(2, actor.spec.id),
        SendTasks(2, [actor]),
    ]
    decided = driven.lose(2, running=actor)
    assert ended_with(decided) == {
        actor.spec.id: Ending.CRASHED,
        add.spec.id: Ending.ACTOR_DIED,
    }


def test_actor_waits_for_its_resources() -> None:
    driven = Driven(CPU=1)
    task, actor = call(), call(actor_class(CPU=1))
    driven.submit(task)
    assert driven.submit(actor) == []
    assert driven.end(1, task) == [StartWorker(2, actor.spec.id), SendTasks(2, [actor])]


def test_call_of_a_running_method_is_cancelled_without_force() -> None:
    driven = Driven()
    actor = living_actor(driven)
    add = call(method(), on=actor)
    driven.submit(add)
    decided = driven.cancel(add, force=True, running=True)
    assert [type(command).__name__ for command in decided] == ["InterruptTask"]


def test_function_of_no_cpus_runs_beside_others() -> None:
    driven = Driven(CPU=1)
    busy, free = call(), call(function(CPU=0))
    driven.submit(busy)
    assert driven.submit(free) == [StartWorker(2, 0), SendTasks(2, [free])]


# --- actors that are restarted --------------------------------------------------------------------


def mortal(max_restarts: int = 1, max_task_retries: int = 0, *, max_concurrency: int = 1) -> Target:
    target = actor_class(max_concurrency=max_concurrency)
    return replace(target, restarts=Restarts(max_restarts, max_task_retries))


def test_actor_whose_worker_is_lost_is_constructed_again_on_another() -> None:
    driven, actor = Driven(), call(mortal())
    driven.submit(actor)
    driven.end(1, actor)
    again = driven.lose(1, running=actor)
    record = driven.scheduler.tasks[actor.spec.id]
    assert again == [
        RestartActor(actor.spec.id, 1),
        StartWorker(2, actor.spec.id),
        SendTasks(2, [record]),
    ]
    assert record.spec is actor.spec
    driven.end(2, record)
    assert driven.lose(2) == [EndActor(actor.spec.id)]


def test_calls_that_had_not_begun_go_to_the_new_instance_before_later_ones() -> None:
    driven, actor = Driven(), call(mortal())
    begun, *others = calls(3, method(), on=actor)
    driven.submit(actor, begun, *others)
    driven.end(1, actor)
    decided = driven.lose(1, running=begun)
    assert ended_with(decided) == {begun.spec.id: Ending.ACTOR_RESTARTS}
    later = call(method(), on=actor)
    assert driven.submit(later) == []
    record = driven.scheduler.tasks[actor.spec.id]
    assert driven.end(2, record) == [SendTasks(2, [*others, later])]


@pytest.mark.parametrize(("of_class", "of_call"), [(1, None), (0, 1), (5, 1)])
def test_call_that_had_begun_is_run_again_as_often_as_it_may(
    of_class: int, of_call: int | None
) -> None:
    driven, actor = Driven(), call(mortal(-1, of_class))
    add = call(replace(method(), max_task_retries=of_call), on=actor)
    driven.submit(actor, add)
    driven.end(1, actor)
    assert ended_with(driven.lose(1, running=add)) == {}
    driven.end(2, driven.scheduler.tasks[actor.spec.id])
    assert add.worker_id == 2
    assert ended_with(driven.lose(2, running=add)) == {add.spec.id: Ending.ACTOR_RESTARTS}


def test_of_calls_beside_each_other_as_many_as_run_at_a_time_had_begun() -> None:
    driven, actor = Driven(), call(mortal(max_concurrency=2))
    sent = calls(4, method(), on=actor)
    driven.submit(actor, *sent)
    driven.end(1, actor)
    lost = {record.spec.id: Ending.ACTOR_RESTARTS for record in sent[:2]}
    assert ended_with(driven.lose(1)) == lost


def test_kill_that_may_restart_ends_the_process_and_nothing_is_sent_to_it() -> None:
    driven, actor = Driven(), call(mortal())
    driven.submit(actor)
    driven.end(1, actor)
    assert driven.tell(ActorKilled(actor.spec.id, may_restart=True)) == [KillWorker(1)]
    add = call(method(), on=actor)
    assert driven.submit(add) == []
    assert RestartActor(actor.spec.id, 1) in driven.lose(1)
    assert driven.end(2, driven.scheduler.tasks[actor.spec.id]) == [SendTasks(2, [add])]


def test_actor_that_has_exited_is_not_restarted_and_gets_no_call_any_more() -> None:
    driven, actor = Driven(), call(mortal(-1, -1))
    leaving, behind = calls(2, method(), on=actor)
    driven.submit(actor, leaving, behind)
    driven.end(1, actor)
    assert driven.tell(ActorExited(actor.spec.id)) == [StopWorker(1), EndActor(actor.spec.id)]
    assert ended_with(driven.end(1, leaving)) == {}
    late = call(method(), on=actor)
    assert ended_with(driven.submit(late)) == {late.spec.id: Ending.ACTOR_DIED}
    assert ended_with(driven.lose(1)) == {behind.spec.id: Ending.ACTOR_DIED}


def test_actor_that_is_lost_before_its_constructor_returns_again_and_again_is_given_up() -> None:
    driven, actor = Driven(), call(mortal(-1))
    driven.submit(actor)
    for worker_id in range(1, 1 + MAX_LOST_IN_A_ROW):
        assert RestartActor(actor.spec.id, worker_id) in driven.lose(worker_id, running=actor)
    decided = driven.lose(1 + MAX_LOST_IN_A_ROW, running=actor)
    assert ended_with(decided) == {actor.spec.id: Ending.CRASHED}
