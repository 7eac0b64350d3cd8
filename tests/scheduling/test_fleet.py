from __future__ import annotations

from flame_remote._scheduling.clock import Clock
from flame_remote._scheduling.commands import Command, KillWorker, StartWorker, StopWorker
from flame_remote._scheduling.fleet import (
    MAX_FRACTIONAL_WORKERS,
    START_ATTEMPTS,
    START_PAUSE_SECONDS,
    Fleet,
)
from flame_remote._scheduling.records import BlockedRequest
from flame_remote._spec import Demand

ONE, HALF = Demand.of({"CPU": 1}), Demand.of({"CPU": 0.5})


class Yard:
    """A fleet, its clock, and what it has said."""

    def __init__(self, cpus: int = 2) -> None:
        self.clock = Clock()
        self.said: list[Command] = []
        self.fleet = Fleet(cpus, self.clock, self.said.append)


def test_workers_are_numbered_and_numbers_are_never_used_again() -> None:
    yard = Yard()
    first = yard.fleet.start()
    yard.fleet.lose(first.id)
    yard.fleet.start(actor_id=7)
    assert yard.said == [StartWorker(1, 0), StartWorker(2, 7)]
    assert list(yard.fleet.workers) == [2]


def test_worker_of_an_actor_is_none_of_those_for_functions() -> None:
    yard = Yard()
    yard.fleet.start(actor_id=7)
    assert list(yard.fleet.workers) == [1]
    assert not yard.fleet.functions


def test_workers_for_functions_are_few() -> None:
    yard = Yard(cpus=2)
    for _ in range(6):
        assert yard.fleet.may_start(ONE)
        yard.fleet.start()
    assert not yard.fleet.may_start(ONE)


def test_tasks_of_less_than_a_cpu_may_have_more_workers_but_not_any_number() -> None:
    yard = Yard(cpus=2)
    for _ in range(MAX_FRACTIONAL_WORKERS):
        assert yard.fleet.may_start(HALF)
        assert yard.fleet.may_start(Demand())
        yard.fleet.start()
    assert not yard.fleet.may_start(HALF)


def test_surplus_idle_workers_are_stopped_longest_idle_first() -> None:
    yard = Yard(cpus=2)
    for _ in range(4):
        yard.fleet.rest(yard.fleet.start())
    yard.said.clear()
    yard.fleet.stop_surplus()
    assert yard.said == [StopWorker(1), StopWorker(2)]
    assert list(yard.fleet.workers) == list(yard.fleet.idle) == [3, 4]
    assert yard.fleet.lose(1) is None


def test_worker_is_told_to_end_once() -> None:
    yard = Yard()
    worker = yard.fleet.start()
    yard.said.clear()
    yard.fleet.kill(worker)
    yard.fleet.kill(worker)
    yard.fleet.stop(worker)
    assert yard.said == [KillWorker(1)]
    assert worker.doomed


def test_worker_that_was_stopped_is_not_killed() -> None:
    yard = Yard()
    worker = yard.fleet.start(actor_id=7)
    yard.said.clear()
    yard.fleet.stop(worker)
    yard.fleet.kill(worker)
    assert yard.said == [StopWorker(1)]


def test_lost_worker_is_in_no_table() -> None:
    yard = Yard()
    worker = yard.fleet.start()
    worker.blocked.append(BlockedRequest(1, 1, [], True))
    yard.fleet.note_waits(worker)
    yard.fleet.rest(worker)
    assert yard.fleet.lose(worker.id) is worker
    fleet = yard.fleet
    for table in (fleet.workers, fleet.functions, fleet.idle, fleet.blocked):
        assert not table


def test_blocked_workers_are_those_whose_tasks_wait() -> None:
    yard = Yard()
    worker, actor = yard.fleet.start(), yard.fleet.start(actor_id=7)
    for one in (worker, actor):
        one.blocked.append(BlockedRequest(1, 1, [], True))
        yard.fleet.note_waits(one)
    assert list(yard.fleet.blocked) == [worker.id]
    worker.blocked.clear()
    yard.fleet.note_waits(worker)
    assert not yard.fleet.blocked


def test_starting_pauses_when_it_fails_again_and_again_while_others_live() -> None:
    yard = Yard()
    yard.fleet.start()
    failures = [yard.fleet.start_failed() for _ in range(START_ATTEMPTS)]
    assert failures == [False] * (START_ATTEMPTS - 1) + [True]
    assert yard.fleet.pauses
    assert not yard.fleet.may_start(ONE)
    assert yard.clock.next_tick == START_PAUSE_SECONDS
    yard.clock.now = START_PAUSE_SECONDS
    assert not yard.fleet.pauses
    assert yard.fleet.may_start(ONE)


def test_starting_is_tried_anew_when_all_was_given_up() -> None:
    yard = Yard()
    failures = [yard.fleet.start_failed() for _ in range(2 * START_ATTEMPTS)]
    assert failures == ([False] * (START_ATTEMPTS - 1) + [True]) * 2
    assert not yard.fleet.pauses


def test_worker_that_reports_ends_the_pause() -> None:
    yard = Yard()
    worker = yard.fleet.start()
    for _ in range(START_ATTEMPTS):
        yard.fleet.start_failed()
    assert yard.fleet.hear(worker.id) is worker
    assert not yard.fleet.pauses
    assert not yard.fleet.start_failed()


def test_nothing_is_heard_of_the_lost() -> None:
    yard = Yard()
    worker = yard.fleet.start()
    yard.fleet.lose(worker.id)
    assert yard.fleet.hear(worker.id) is None
