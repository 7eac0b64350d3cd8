"""A scheduler makes the waits here: it alone knows how to keep the tables that the graph reads."""

from __future__ import annotations

from flame_remote._scheduling.commands import Command, ReportDeadlock, SendTasks
from flame_remote._scheduling.events import ActorKilled
from flame_remote._scheduling.records import TaskRecord

from .helpers import Driven, actor_class, call, function, method


def cycles(decided: list[Command]) -> list[tuple[str, ...]]:
    return [command.cycle for command in decided if isinstance(command, ReportDeadlock)]


def start(driven: Driven, *records: TaskRecord) -> None:
    """Submit tasks one by one; each gets a worker of its own."""
    for record in records:
        driven.submit(record)
        assert record.worker_id


def alive_actor(driven: Driven, **options: int) -> TaskRecord:
    creation = call(actor_class("Actor", **options))
    start(driven, creation)
    driven.end(creation.worker_id, creation)
    return creation


def test_task_that_waits_for_itself_is_reported() -> None:
    driven = Driven()
    task = call(function("f"))
    start(driven, task)
    assert cycles(driven.block(task, task)) == [("f",)]


def test_two_tasks_that_wait_for_each_other_are_reported_to_the_second() -> None:
    driven = Driven()
    f, g = call(function("f")), call(function("g"))
    start(driven, f, g)
    assert cycles(driven.block(f, g)) == []
    assert cycles(driven.block(g, f)) == [("g", "f")]


def test_tasks_that_wait_for_one_that_runs_are_no_cycle() -> None:
    driven = Driven(CPU=3)
    f, g, h = call(function("f")), call(function("g")), call(function("h"))
    start(driven, f, g, h)
    assert cycles(driven.block(f, h, request=1)) == []
    assert cycles(driven.block(g, f, request=2)) == []


def test_wait_for_arguments_is_part_of_a_cycle() -> None:
    driven = Driven()
    f = call(function("f"))
    g = call(function("g"), after=[f])
    h = call(function("h"), after=[g])
    start(driven, f)
    driven.submit(g, h)
    assert cycles(driven.block(f, h)) == [("f", "h", "g")]


def test_wait_with_a_time_limit_is_no_part_of_a_cycle() -> None:
    driven = Driven()
    f, g = call(function("f")), call(function("g"))
    start(driven, f, g)
    driven.block(f, g, patient=False)
    assert cycles(driven.block(g, f)) == []
    assert cycles(driven.block(f, g, patient=False)) == []


def test_wait_that_is_over_is_no_part_of_a_cycle() -> None:
    driven = Driven()
    f, g = call(function("f")), call(function("g"))
    start(driven, f, g)
    driven.block(f, g)
    driven.unblock(f)
    assert cycles(driven.block(g, f)) == []


def test_task_in_a_worker_that_is_being_killed_is_no_part_of_a_cycle() -> None:
    driven = Driven()
    f, g = call(function("f")), call(function("g"))
    start(driven, f, g)
    driven.block(f, g)
    driven.cancel(f, force=True, running=True)
    assert cycles(driven.block(g, f)) == []


def test_task_waits_for_what_runs_on_top_of_it() -> None:
    driven = Driven(CPU=1)
    driven.run_ahead(function())
    below = call(function("below"))
    start(driven, below)
    above = call(function("above"), parent=below)
    decided = driven.submit(above) + driven.block(below, above)
    assert SendTasks(below.worker_id, [above], helps=True) in decided
    driven.unblock(below)  # its time is over, but it cannot go on
    assert cycles(driven.block(above, below, request=2)) == [("above", "below")]


def test_method_waits_for_the_constructor() -> None:
    driven = Driven()
    f = call(function("f"))
    start(driven, f)
    creation = call(actor_class("Actor"), after=[f])
    read = call(method("Actor.read"), on=creation)
    driven.submit(creation, read)
    assert cycles(driven.block(f, read)) == [("f", "Actor.read", "Actor")]


def test_method_of_a_plain_actor_waits_for_the_one_that_runs() -> None:
    driven = Driven()
    actor = alive_actor(driven)
    first, second = (call(method(name), on=actor) for name in ("first", "second"))
    driven.submit(first, second)
    assert cycles(driven.block(first, second)) == [("first", "second")]


def test_methods_that_run_beside_each_other_may_wait_for_each_other() -> None:
    driven = Driven()
    actor = alive_actor(driven, max_concurrency=2)
    first, second = (call(method(name), on=actor) for name in ("first", "second"))
    driven.submit(first, second)
    assert cycles(driven.block(first, second)) == []


def test_method_waits_for_late_ones_before_it() -> None:
    driven = Driven()
    actor = alive_actor(driven)
    f = call(function("f"))
    start(driven, f)
    late = call(method("late"), on=actor, after=[f])
    behind = call(method("behind"), on=actor)
    driven.submit(late, behind)
    assert cycles(driven.block(f, behind)) == [("f", "behind", "late")]


def test_method_does_not_wait_for_late_ones_of_another_caller() -> None:
    driven = Driven()
    actor = alive_actor(driven)
    f = call(function("f"))
    start(driven, f)
    late = call(method("late"), on=actor, after=[f])
    other = call(method("other"), on=actor, parent=f, made_by=f.worker_id)
    driven.submit(late, other)
    assert cycles(driven.block(f, other)) == []


def test_calls_of_dead_actors_are_no_part_of_a_cycle() -> None:
    driven = Driven()
    actor = alive_actor(driven)
    first, second = (call(method(name), on=actor) for name in ("first", "second"))
    driven.submit(first, second)
    driven.block(first, second)
    driven.tell(ActorKilled(actor.spec.id))
    f = call(function("f"))
    start(driven, f)
    assert cycles(driven.block(f, second)) == []


def test_long_chain_of_waits_is_followed_to_its_end() -> None:
    driven = Driven()
    f = call(function("f"))
    start(driven, f)
    chain = [call(function("g"), after=[f])]
    for _ in range(5_000):
        chain.append(call(function("g"), after=[chain[-1]]))
    driven.submit(*chain)
    (cycle,) = cycles(driven.block(f, chain[-1]))
    assert cycle == ("f", *["g"] * 5_001)
