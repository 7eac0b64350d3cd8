"""What an engine sends where, and what it makes of what comes back. No cluster, no clock."""

from __future__ import annotations

from typing import Any

import pytest

from flame_remote._execute.failure import rebuild_error
from flame_remote._flame.batch import CallEntry, Key, Reply, Result, Ticket
from flame_remote._flame.batching import Batcher, Pace
from flame_remote._flame.calls import TRANSITIONS, CallState, Step
from flame_remote._flame.desk import Desk
from flame_remote._flame.lanes import Lane, SessionPlan
from flame_remote._flame.lost import ProcessLost
from flame_remote._flame.shipment import Shipment
from flame_remote._flame.table import Table
from flame_remote._outcome import Kind
from flame_remote._spec import Demand, Target, TargetKind, TaskSpec

FUNCTION = Target(1, TargetKind.FUNCTION, "f", b"code", Demand(), max_retries=1)
FRAGILE = Target(2, TargetKind.FUNCTION, "g", b"code", Demand(), max_retries=0)
CLASS = Target(3, TargetKind.ACTOR, "C", b"code", Demand(), max_retries=0)
METHOD = Target(4, TargetKind.METHOD, "C.m", b"", Demand(), max_retries=0, method="m")


class Office:
    """A desk with the lanes of an engine, and short names for what tests do with it."""

    def __init__(self) -> None:
        self.table = Table("us")
        self.pace = Pace()
        self.desk = Desk(self.table, self.pace, self._lane, self._mailbox)
        self.functions = Lane(
            SessionPlan("functions", "app"), Batcher(self.pace, instances=2), ordered=False
        )
        self.now = 0.0
        self.replies = 0

    def _lane(self, what: Any) -> Lane:
        if isinstance(what, TaskSpec) and what.target.kind is TargetKind.FUNCTION:
            return self.functions
        batcher = Batcher(self.pace, instances=1, most_under_way=2)
        return Lane(SessionPlan("actor", "app", 1, 1), batcher, ordered=True)

    def _mailbox(self, object_id: int) -> Key:
        return Key("grpc://cache", f"app/mail/{object_id}", 0)

    def submit(self, task: int, target: Target = FUNCTION, *on: int, actor: int = 0) -> None:
        self.table.add(task, target.name)
        dependencies = tuple(enumerate(on))
        self.desk.submit(TaskSpec(task, target, (None,) * len(on), dependencies, (), actor))

    def shipments(self) -> list[Shipment]:
        sent = self.desk.shipments(self.now)
        for number, shipment in enumerate(sent):
            shipment.session_id = shipment.lane.plan.session_id
            self.desk.replies.created(shipment, f"{self.now}-{number}")
        return sent

    def reply(self, shipment: Shipment, *results: Result, **more: Any) -> None:
        self.replies += 1
        values = {
            "process": "worker",
            "pid": 7,
            "number": self.replies,
            "results": results,
            "tickets": (),
            "seconds": {FUNCTION.id: (1, 1e-5)},
            "held": (),
        }
        self.desk.replies.take(shipment, Reply(**{**values, **more}), self.now)

    def value(self, task: int) -> Any:
        stored = self.table.by_id[task]
        assert stored.kind == Kind.ATOM
        return stored.data

    def error(self, task: int) -> BaseException:
        stored = self.table.by_id[task]
        assert stored.kind == Kind.FAILED
        return rebuild_error(stored.data)


@pytest.fixture
def office() -> Office:
    return Office()


def atom(task: int, value: Any = None) -> Result:
    return Result(task, int(Kind.ATOM), value)


def calls_in(shipments: list[Shipment]) -> list[list[int]]:
    return [[call.spec.id for call in shipment.calls] for shipment in shipments]


def test_a_call_is_sent_and_its_outcome_taken_in(office: Office) -> None:
    office.submit(1)
    (shipment,) = office.shipments()
    assert shipment.entries == [CallEntry(1, FUNCTION.id, ())]
    office.reply(shipment, atom(1, 42))
    assert office.value(1) == 42
    assert office.shipments() == []


def test_once_their_time_is_known_calls_travel_together(office: Office) -> None:
    office.submit(1)
    (first,) = office.shipments()
    office.reply(first, atom(1))
    for task in range(2, 10):
        office.submit(task)
    assert calls_in(office.shipments()) == [[2, 3], [4, 5], [6, 7], [8, 9]]


def test_a_call_waits_for_its_arguments_and_gets_their_values(office: Office) -> None:
    office.submit(1)
    office.submit(2, FUNCTION, 1)
    (first,) = office.shipments()
    office.reply(first, atom(1, 5))
    (second,) = office.shipments()
    assert second.entries[0].values == ((0, int(Kind.ATOM), 5),)


def test_a_failure_passes_on_to_whatever_takes_it(office: Office) -> None:
    office.submit(1)
    office.submit(2, FUNCTION, 1)
    office.submit(3, FUNCTION, 2)
    office.shipments()
    assert office.desk.cancel(1) is True
    assert "cancelled" in str(office.error(3))
    assert "needed by: f <- f" in "".join(office.error(3).__notes__)
    assert office.shipments() == []


def test_a_chain_of_ten_thousand_calls_ends_without_recursion(office: Office) -> None:
    office.submit(1)
    for task in range(2, 10_000):
        office.submit(task, FUNCTION, task - 1)
    office.desk.cancel(1)
    assert office.table.by_id[9_999].kind == Kind.FAILED


def test_what_nobody_refers_to_is_let_go_when_the_call_has_ended(office: Office) -> None:
    office.submit(1)
    office.table.count(1)  # its ref dies
    (shipment,) = office.shipments()
    office.reply(shipment, Result(1, int(Kind.STORED), Key("grpc://cache", "app/objects/1", 9)))
    assert [key.key for key in office.table.take_gone().keys] == ["app/objects/1"]
    assert office.table.by_id == {}


def test_the_result_of_a_cancelled_call_is_let_go_with_what_is_inside(office: Office) -> None:
    office.submit(1)
    (shipment,) = office.shipments()
    office.desk.cancel(1)
    inner = Ticket(9, "us", "", int(Kind.STORED), Key("grpc://cache", "app/objects/inner", 9))
    result = Result(1, int(Kind.STORED), Key("grpc://cache", "app/objects/outer", 9), (9,))
    office.reply(shipment, result, tickets=(inner,))
    keys = sorted(key.key for key in office.table.take_gone().keys)
    assert keys == ["app/objects/inner", "app/objects/outer"]


def test_a_call_whose_process_died_is_sent_again_as_often_as_it_may(office: Office) -> None:
    office.submit(1)
    for _ in range(2):
        (shipment,) = office.shipments()
        office.desk.replies.lost(shipment, ProcessLost("exit code 3"), office.now)
        assert office.shipments() == []  # not at once
        office.now += 60
    assert "was lost" in str(office.error(1))
    assert "2 attempts" in str(office.error(1))


def test_where_the_dead_stay_another_session_is_used_and_only_what_began_counts(
    office: Office,
) -> None:
    for task in (1, 2):
        office.submit(task, FRAGILE)
    first, second = office.shipments()
    office.desk.replies.lost(first, ProcessLost("transport error"), office.now)
    office.desk.replies.lost(second, ProcessLost("Connection refused (os error 111)"), office.now)
    assert "1 attempt)" in str(office.error(1))
    office.now += 60
    (again,) = office.shipments()
    assert calls_in([again]) == [[2]]
    assert again.session_id == "functions-r1"
    office.reply(again, atom(2, 5))
    assert office.value(2) == 5


def test_a_call_that_must_not_be_repeated_is_not_and_is_always_alone(office: Office) -> None:
    office.pace.learn({FRAGILE.id: (1, 1e-5)})
    for task in (1, 2):
        office.submit(task, FRAGILE)
    sent = office.shipments()
    assert calls_in(sent) == [[1], [2]]
    office.desk.replies.lost(sent[0], ProcessLost("exit code 3"), office.now)
    office.reply(sent[1], atom(2, 5))
    assert "1 attempt)" in str(office.error(1))
    assert office.value(2) == 5


def test_of_calls_that_died_together_each_is_tried_alone_without_counting(office: Office) -> None:
    office.pace.learn({FUNCTION.id: (1, 1e-5)})
    for task in range(1, 9):
        office.submit(task)
    sent = office.shipments()
    assert calls_in(sent)[0] == [1, 2]
    office.desk.replies.lost(sent[0], ProcessLost("exit code 3"), office.now)
    office.now += 60
    again = office.shipments()
    assert calls_in(again) == [[1], [2]]
    assert [call.attempts for shipment in again for call in shipment.calls] == [0, 0]


def test_calls_of_an_actor_keep_their_order_while_one_waits_for_an_argument(office: Office) -> None:
    office.submit(1, CLASS)
    (made,) = office.shipments()
    office.reply(made, atom(1))
    office.submit(2)
    office.submit(3, METHOD, 2, actor=1)
    office.submit(4, METHOD, actor=1)
    (argument,) = office.shipments()
    assert calls_in([argument]) == [[2]]
    office.reply(argument, atom(2))
    assert calls_in(office.shipments()) == [[3], [4]]


def test_the_death_of_its_process_is_the_death_of_an_actor(office: Office) -> None:
    office.submit(1, CLASS)
    office.submit(2, METHOD, actor=1)
    (sent, _) = office.shipments()
    office.submit(3, METHOD, actor=1)
    office.desk.replies.lost(sent, ProcessLost("exit code 3"), office.now)
    for task in (2, 3):
        assert "actor C is dead: was lost" in str(office.error(task))
    office.submit(4, METHOD, actor=1)
    assert "actor C is dead" in str(office.error(4))
    assert [lane.plan.session_id for lane in office.desk.replies.closing] == ["actor"]


def test_an_actor_without_handles_is_told_to_end_and_then_its_session_is_closed(
    office: Office,
) -> None:
    office.submit(1, CLASS)
    (made,) = office.shipments()
    office.reply(made, atom(1))
    office.table.count(1)  # the handle dies
    (lane,) = office.table.take_gone().lanes
    lane.ends = True
    office.desk.touch(lane)
    (last,) = office.shipments()
    assert (last.calls, last.ends) == ([], True)
    office.reply(last)
    assert office.desk.replies.closing == [lane]


def test_while_calls_of_an_actor_go_on_a_task_is_under_way_to_bring_their_outcome(
    office: Office,
) -> None:
    office.submit(1, CLASS)
    (made,) = office.shipments()
    office.reply(made, atom(1))
    office.submit(2, METHOD, actor=1)
    (waiting,) = office.shipments()
    office.reply(waiting, running=1)
    (carrier,) = office.shipments()
    assert carrier.calls == []
    office.reply(carrier, atom(2, "late"))
    assert office.value(2) == "late"
    assert office.shipments() == []


def test_a_handle_is_passed_on_only_when_the_construction_is_on_its_way(office: Office) -> None:
    office.submit(1)
    office.submit(2, CLASS, 1)
    office.table.add(3, "f")
    office.desk.submit(TaskSpec(3, FUNCTION, b"the handle", (), nested=(2,)))
    (argument,) = office.shipments()
    assert calls_in([argument]) == [[1]]
    office.reply(argument, atom(1))
    assert calls_in(office.shipments()) == [[2]]
    assert calls_in(office.shipments()) == [[3]]


def test_a_batch_that_no_instance_has_begun_can_be_claimed_back(office: Office) -> None:
    office.desk.claims.make_key = lambda: "app/claims/1"
    office.submit(1)
    (shipment,) = office.shipments()
    assert office.desk.claims.claimable([1]) is shipment
    office.desk.claims.settle(shipment, claimed=True)
    call = office.desk.claims.take_kept([1])
    assert call is not None
    office.desk.outcomes.end(call, atom(1, "here"))
    office.reply(shipment, taken=True)
    assert office.value(1) == "here"


def test_the_steps_of_a_call_are_those_of_the_table() -> None:
    ends = {state for state, step in TRANSITIONS if step is Step.ENDED}
    assert ends == {*CallState} - {CallState.ENDED}
    assert all(state is not CallState.ENDED for state, _ in TRANSITIONS)
