"""What of the resources is lent while tasks wait."""

from __future__ import annotations

from flame_remote._scheduling.commands import SendTasks
from flame_remote._scheduling.records import TaskRecord

from .helpers import Driven, actor_class, call, calls, function, method


def available(driven: Driven) -> dict[str, int]:
    return driven.scheduler.pool.available


def test_blocked_task_lends_its_cpus_but_nothing_else() -> None:
    driven = Driven(CPU=1, GPU=1)
    task, other, third = call(function(CPU=1, GPU=1)), call(), call(function(CPU=1, GPU=1))
    driven.submit(task)
    driven.submit(other, third)
    assert available(driven) == {"CPU": 0, "GPU": 0}
    awaited = call(after=[other])
    driven.submit(awaited)
    assert SendTasks(2, [other]) in driven.block(task, awaited)
    assert third.worker_id == 0


def test_task_whose_wait_is_over_takes_its_cpus_back() -> None:
    driven = Driven(CPU=1)
    task, other = calls(2)
    driven.submit(task, other)
    driven.block(task, other, patient=False)
    assert available(driven) == {"CPU": 0}
    driven.unblock(task)
    assert available(driven) == {"CPU": -10_000}
    driven.end(other.worker_id, other)
    driven.end(task.worker_id, task)
    assert available(driven) == {"CPU": 10_000}


def test_lost_worker_gives_everything_back() -> None:
    driven = Driven(CPU=1, GPU=1)
    task = call(function(CPU=1, GPU=1, max_retries=0))
    child = call(function(CPU=0.5))
    driven.submit(task)
    driven.submit(child)
    driven.block(task, child)
    driven.lose(task.worker_id, running=task)
    driven.end(child.worker_id, child)
    assert available(driven) == {"CPU": 10_000, "GPU": 10_000}


def test_task_on_top_of_another_runs_under_a_lease_of_its_own() -> None:
    driven = Driven(CPU=1)
    driven.run_ahead(function())
    task = call(function(CPU=1))
    child = call(function(CPU=0.5), parent=task)
    driven.submit(task)
    assert driven.submit(child) == []
    driven.block(task, child)
    assert child.worker_id == task.worker_id
    assert available(driven) == {"CPU": 5_000}
    driven.end(child.worker_id, child)
    assert available(driven) == {"CPU": 10_000}
    driven.unblock(task)
    assert available(driven) == {"CPU": 0}


def living_actor(driven: Driven, *, max_concurrency: int = 1) -> TaskRecord:
    actor = call(actor_class(CPU=1, max_concurrency=max_concurrency))
    driven.submit(actor)
    driven.end(actor.worker_id, actor)
    return actor


def test_actor_holds_its_resources_while_it_is_idle() -> None:
    driven = Driven(CPU=1)
    living_actor(driven)
    assert available(driven) == {"CPU": 0}


def test_actor_lends_its_cpus_while_its_method_waits_though_others_are_queued() -> None:
    driven = Driven(CPU=1)
    actor = living_actor(driven)
    first, second = calls(2, method(), on=actor)
    driven.submit(first, second)
    child = call(parent=first)
    driven.submit(child)
    assert SendTasks(2, [child]) in driven.block(first, child)


def test_actor_with_methods_beside_each_other_lends_when_all_of_them_wait() -> None:
    driven = Driven(CPU=1)
    actor = living_actor(driven, max_concurrency=2)
    first, second = calls(2, method(), on=actor)
    child = call()
    driven.submit(first, second)
    driven.submit(child)
    driven.block(first, child, request=1)
    assert child.worker_id == 0
    driven.block(second, child, request=2)
    assert child.worker_id == 2
