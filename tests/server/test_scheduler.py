"""Which instance gets which task, how many there are, and what becomes of those that fail."""

from __future__ import annotations

import pytest

from flame_remote._proto import types_pb2
from flame_remote._server import commands as cmd
from flame_remote._server import events as ev
from flame_remote._server.commands import Refusal
from flame_remote._server.records import BIND_FAILED, RETRIES_EXHAUSTED
from flame_remote._server.states import SessionState, TaskState
from tests.server.bench import Bench

# --- tasks and instances ----------------------------------------------------------------------


def test_the_first_task_starts_an_instance_and_is_sent_when_it_has_entered() -> None:
    bench = Bench()
    bench.open()
    task = bench.call()
    assert bench.started() == ["i1"]
    assert task.state is TaskState.PENDING
    bench.enter("i1")
    assert bench.sent() == [("i1", 1)]
    bench.finish("i1")
    assert (task.state, task.output) == (TaskState.SUCCEEDED, b"out")


def test_tasks_one_after_the_other_go_to_the_same_instance_though_others_are_free() -> None:
    bench = Bench()
    bench.open(min_instances=2)
    bench.enter("i1")
    bench.enter("i2")
    for number in range(1, 6):
        bench.call()
        assert bench.sent() == [("i2", number)]
        bench.finish("i2")


def test_more_instances_are_started_only_when_more_tasks_wait_than_instances_are_free() -> None:
    bench = Bench()
    bench.open()
    bench.call()
    bench.enter("i1")
    bench.finish("i1")
    bench.call()
    assert bench.started() == []
    bench.call()
    assert bench.started() == ["i2"]


def test_tasks_start_in_the_order_of_their_numbers() -> None:
    bench = Bench()
    bench.open(max_instances=1)
    for _ in range(4):
        bench.call()
    bench.enter("i1")
    order = bench.sent()
    for _ in range(3):
        bench.finish("i1")
        order += bench.sent()
    assert [number for _, number in order] == [1, 2, 3, 4]


def test_min_instances_are_started_with_the_session() -> None:
    bench = Bench()
    bench.open(min_instances=2)
    assert bench.started() == ["i1", "i2"]


def test_no_session_gets_more_than_max_instances() -> None:
    bench = Bench()
    bench.open(max_instances=1)
    for _ in range(5):
        bench.call()
    bench.enter("i1")
    assert bench.started() == []


def test_a_few_instances_of_a_session_start_at_once_and_others_after_them() -> None:
    bench = Bench(starting=2)
    bench.open()
    started = []
    for _ in range(5):
        bench.call()
        started += bench.started()
    assert started == ["i1", "i2"]
    bench.enter("i1")
    assert bench.started() == ["i3"]


def test_demand_grows_up_to_the_limit_and_each_session_gets_its_first_beyond_it() -> None:
    bench = Bench(instances=2, overcommit=4)
    for session_id in ("a", "b", "c"):
        bench.open(session_id)
    for session_id in ("a", "a", "a"):
        bench.call(session_id)
    assert len(bench.scheduler.tables.instances) == 2
    bench.call("b")
    bench.call("b")
    bench.call("c")
    sessions = [i.session_id for i in bench.scheduler.tables.instances.values()]
    assert sorted(sessions) == ["a", "a", "b", "c"]


def test_at_the_limit_an_instance_that_another_session_does_not_use_makes_room() -> None:
    bench = Bench(instances=2)
    bench.open("a")
    bench.call("a")
    bench.call("a")
    for instance in ("i1", "i2"):
        bench.enter(instance)
    for instance in ("i1", "i2"):
        bench.finish(instance)
    bench.open("b")
    bench.call("b")
    assert bench.started() == ["i3"]
    bench.call("b")
    assert (bench.stopped(), bench.started()) == (["i1"], ["i4"])


def test_the_session_of_higher_priority_is_served_first() -> None:
    bench = Bench(instances=1, overcommit=1)
    bench.open("busy")
    bench.call("busy")
    bench.open("low")
    bench.open("high", priority=5)
    bench.call("low")
    bench.call("high")
    bench.enter("i1")
    bench.finish("i1")
    assert bench.started() == ["i2"]
    assert bench.scheduler.tables.instances["i2"].session_id == "high"


def test_a_webassembly_application_is_never_started() -> None:
    bench = Bench(shim=types_pb2.Wasm)
    session = bench.open(min_instances=1)
    task = bench.call()
    assert bench.started() == []
    assert (task.state, session.state) == (TaskState.PENDING, SessionState.OPEN)


# --- release ----------------------------------------------------------------------------------


def test_an_instance_that_is_free_for_the_delay_of_its_application_is_ended() -> None:
    bench = Bench()
    bench.open()
    bench.call()
    bench.enter("i1")
    bench.now = 10.0
    bench.finish("i1")
    bench.now = 60.0
    bench.tell(ev.TimePassed())
    (wake,) = bench.last(cmd.WakeAt)
    assert (wake.moment, bench.stopped()) == (70.0, [])
    bench.now = 70.0
    bench.tell(ev.TimePassed())
    assert bench.stopped() == ["i1"]
    bench.tell(ev.InstanceGone("i1"))
    assert bench.scheduler.tables.instances == {}


def test_an_instance_that_had_work_meanwhile_is_looked_at_later() -> None:
    bench = Bench()
    bench.open()
    bench.call()
    bench.enter("i1")
    bench.finish("i1")
    bench.now = 50.0
    bench.call()
    bench.finish("i1")
    bench.now = 60.0
    bench.tell(ev.TimePassed())
    assert bench.stopped() == []
    (wake,) = bench.last(cmd.WakeAt)
    assert wake.moment == 110.0


def test_the_minimum_of_a_session_is_not_ended() -> None:
    bench = Bench()
    bench.open(min_instances=1)
    bench.enter("i1")
    bench.now = 1000.0
    bench.tell(ev.TimePassed())
    assert bench.stopped() == []


# --- failures ---------------------------------------------------------------------------------


def test_a_task_whose_service_fails_has_its_text_and_the_instance_goes_on() -> None:
    bench = Bench()
    session = bench.open()
    task = bench.call()
    bench.enter("i1")
    bench.finish("i1", -1, "Test error in task")
    assert (task.state, task.message) == (TaskState.FAILED, "Test error in task")
    bench.call()
    assert bench.sent() == [("i1", 2)]
    assert session.counts[TaskState.FAILED] == 1


def test_a_crash_fails_the_task_that_ran_and_the_next_one_gets_a_new_instance() -> None:
    bench = Bench()
    bench.open(max_instances=1)
    first, second = bench.call(), bench.call()
    bench.enter("i1")
    bench.tell(ev.InstanceLost("i1", "killed by SIGSEGV", task_sent=True))
    assert (first.state, first.message) == (TaskState.FAILED, "killed by SIGSEGV")
    assert second.state is TaskState.PENDING
    assert bench.started() == ["i2"]


def test_a_task_that_never_reached_the_lost_instance_runs_on_another() -> None:
    bench = Bench()
    bench.open(max_instances=1)
    task = bench.call()
    bench.enter("i1")
    bench.tell(ev.InstanceLost("i1", "gone", task_sent=False))
    assert task.state is TaskState.PENDING
    bench.enter("i2")
    assert bench.sent() == [("i2", 1)]


def test_a_failed_bind_is_an_event_of_the_session_and_is_tried_again() -> None:
    bench = Bench()
    session = bench.open()
    bench.call()
    bench.fail("i1", 12, "intentional session enter failure")
    (event,) = session.events
    assert event.code == BIND_FAILED
    assert "failed to bind session" in event.message
    assert "intentional session enter failure" in event.message
    assert bench.started() == ["i2"]


def test_when_attempts_are_used_up_waiting_tasks_fail_with_the_reason() -> None:
    bench = Bench(bind_attempts=3)
    session = bench.open()
    tasks = [bench.call(), bench.call()]
    for instance in ("i1", "i2", "i3"):
        bench.fail(instance, 11, "no such file")
    assert [task.state for task in tasks] == [TaskState.FAILED] * 2
    assert "shim creation failed: no such file" in tasks[0].message
    assert [e.code for e in session.events] == [BIND_FAILED] * 3 + [RETRIES_EXHAUSTED]
    assert session.state is SessionState.OPEN
    assert bench.started() == []


def test_after_that_each_new_task_is_one_more_attempt_and_a_success_forgets_the_failures() -> None:
    bench = Bench(bind_attempts=1)
    session = bench.open()
    bench.call()
    bench.fail("i1")
    failed = bench.call()
    assert bench.started() == ["i2"]
    bench.fail("i2")
    assert failed.state is TaskState.FAILED
    task = bench.call()
    bench.enter("i3")
    bench.finish("i3")
    assert task.state is TaskState.SUCCEEDED
    assert (session.exhausted, session.failed_binds) == (False, 0)


def test_instances_that_work_go_on_when_further_ones_cannot_be_started() -> None:
    bench = Bench(bind_attempts=1)
    bench.open()
    bench.call()
    bench.enter("i1")
    second = bench.call()
    bench.fail("i2")
    assert second.state is TaskState.PENDING
    bench.finish("i1")
    assert bench.sent() == [("i1", 2)]


def test_an_instance_that_ends_before_its_first_task_counts_as_a_failed_bind() -> None:
    bench = Bench(bind_attempts=2)
    session = bench.open(min_instances=1)
    for instance in ("i1", "i2"):
        bench.enter(instance)
        bench.tell(ev.InstanceLost(instance, "ended", task_sent=False))
    assert bench.started() == []
    assert session.exhausted or session.failed_binds  # it does not start for ever


# --- sessions ---------------------------------------------------------------------------------


def test_closing_cancels_what_waits_and_ends_the_instances() -> None:
    bench = Bench()
    bench.open()
    task = bench.call()
    bench.tell(ev.CloseSession("s"))
    assert task.state is TaskState.CANCELLED
    assert bench.stopped() == ["i1"]
    bench.tell(ev.CloseSession("s"))
    assert len(bench.last(cmd.Answer)) == 1  # again is no error


def test_an_instance_that_enters_a_session_that_was_closed_meanwhile_gets_no_task() -> None:
    bench = Bench()
    bench.open()
    bench.call()
    bench.tell(ev.CloseSession("s"))
    bench.enter("i1")
    assert bench.commands == []
    bench.tell(ev.InstanceGone("i1"))
    assert bench.scheduler.tables.instances == {}


def test_a_session_in_which_a_task_runs_cannot_be_closed() -> None:
    bench = Bench()
    bench.open()
    bench.call()
    bench.enter("i1")
    bench.tell(ev.CloseSession("s"))
    assert bench.refusal() == (Refusal.INTERNAL, "Cannot close session with running tasks")


def test_a_closed_session_takes_no_task_and_cannot_be_opened() -> None:
    bench = Bench()
    bench.open()
    bench.tell(ev.CloseSession("s"))
    bench.tell(ev.CreateTask("s", b""))
    assert bench.refusal() == (
        Refusal.INVALID_ARGUMENT,
        "Cannot create task in closed session",
    )
    bench.tell(ev.OpenSession("s", None))
    assert bench.refusal() == (Refusal.INVALID_ARGUMENT, "Session s is not open")


def test_opening_creates_once_and_compares_after_that() -> None:
    bench = Bench()
    spec = types_pb2.SessionSpec(application="app", min_instances=0, common_data=b"x")
    bench.tell(ev.OpenSession("s", spec))
    bench.tell(ev.OpenSession("s", types_pb2.SessionSpec(application="app", common_data=b"y")))
    (answer,) = bench.last(cmd.Answer)
    assert answer.record.spec.common_data == b"x"
    bench.tell(ev.OpenSession("s", types_pb2.SessionSpec(application="app", priority=1)))
    why, text = bench.refusal()
    assert why is Refusal.INVALID_ARGUMENT
    assert text == "session s spec mismatch: priority differs (expected 0, got 1)"


@pytest.mark.parametrize(
    ("event", "why", "text"),
    [
        (ev.OpenSession("x", None), Refusal.NOT_FOUND, "Session x not found"),
        (ev.CloseSession("x"), Refusal.NOT_FOUND, "session <x>"),
        (ev.DeleteSession("x"), Refusal.NOT_FOUND, "Session x not found"),
        (ev.CreateTask("x", None), Refusal.NOT_FOUND, "Session x not found"),
        (ev.DeleteSession("s"), Refusal.INTERNAL, "Cannot delete open session"),
        (
            ev.CreateSession("s", types_pb2.SessionSpec(application="app")),
            Refusal.ALREADY_EXISTS,
            "Session 's' already exists",
        ),
        (
            ev.UnregisterApplication("app"),
            Refusal.RESULT,
            "Cannot unregister application 'app': has open sessions",
        ),
        (
            ev.RegisterApplication("app", types_pb2.ApplicationSpec()),
            Refusal.RESULT,
            "Application 'app' already exists",
        ),
    ],
)
def test_refusals_have_the_words_of_flame(
    ev_bench: Bench, event: ev.Event, why: Refusal, text: str
) -> None:
    ev_bench.tell(event)
    assert ev_bench.refusal() == (why, text)


@pytest.fixture
def ev_bench() -> Bench:
    bench = Bench()
    bench.open()
    return bench


@pytest.mark.parametrize("name", ["", ".a", "-a", "a/b", "a..b", "a\\b", "a b", "x" * 254])
def test_names_that_could_be_paths_are_refused(name: str) -> None:
    bench = Bench()
    bench.tell(ev.RegisterApplication(name, types_pb2.ApplicationSpec()))
    assert bench.refusal()[0] is Refusal.RESULT


def test_unregistering_forgets_the_closed_sessions() -> None:
    bench = Bench()
    bench.open()
    bench.tell(ev.CloseSession("s"))
    bench.tell(ev.UnregisterApplication("app"))
    assert bench.scheduler.tables.sessions == {}
    assert [command.session_id for command in bench.last(cmd.ForgetSession)] == ["s"]


def test_an_application_goes_with_its_owner_whatever_it_does() -> None:
    bench = Bench()
    spec = types_pb2.ApplicationSpec(command="x")
    bench.tell(ev.RegisterApplication("mine", spec, owner="12:34"))
    bench.open("m", application="mine")
    running, waiting = bench.call("m"), bench.call("m")
    bench.enter("i1")
    bench.tell(ev.OwnerGone("mine", "12:34"))
    assert (running.state, waiting.state) == (TaskState.FAILED, TaskState.CANCELLED)
    assert all(command.kill for command in bench.last(cmd.StopInstance))
    assert [command.application for command in bench.last(cmd.DropObjects)] == ["mine"]
    assert "mine" not in bench.scheduler.tables.applications
    assert "app" in bench.scheduler.tables.applications


def test_an_application_whose_package_lies_elsewhere_is_left_to_the_next_runner() -> None:
    bench = Bench()
    spec = types_pb2.ApplicationSpec(command="x", url="file:///packages/mine.tar.gz")
    bench.tell(ev.RegisterApplication("mine", spec, owner="12:34"))
    session = bench.open("m", application="mine")
    bench.tell(ev.OwnerGone("mine", "12:34"))
    assert session.state is SessionState.CLOSED
    assert [command.application for command in bench.last(cmd.DropObjects)] == ["mine"]
    assert bench.scheduler.tables.applications["mine"].owner == ""


def test_a_later_application_of_the_same_name_does_not_go_with_the_former_owner() -> None:
    bench = Bench()
    bench.tell(ev.OwnerGone("app", "12:34"))
    assert "app" in bench.scheduler.tables.applications


def test_a_restored_scheduler_goes_on_with_what_waits() -> None:
    bench = Bench()
    session = bench.open()
    task = bench.call()
    later = Bench()
    later.scheduler.tables.applications.clear()
    session.instances.clear()
    session.tasks.clear()
    session.pending.clear()
    session.counts[:] = [0] * len(TaskState)
    applications = bench.scheduler.tables.applications.values()
    later.commands = list(later.scheduler.restore(5.0, applications, [session], [task]))
    assert later.started() == ["i1"]
    later.enter("i1")
    assert later.sent() == [("i1", 1)]


# --- batches ----------------------------------------------------------------------------------


def test_no_instance_is_started_for_a_part_of_a_batch() -> None:
    bench = Bench()
    bench.open(batch_size=2)
    bench.call()
    assert bench.started() == []
    bench.call()
    assert bench.started() == ["i1", "i2"]


def test_a_part_of_a_batch_runs_on_an_instance_that_is_free() -> None:
    bench = Bench()
    bench.open(batch_size=2, min_instances=2)
    bench.enter("i1")
    bench.call()
    assert bench.sent() == [("i1", 1)]


@pytest.mark.parametrize("bounds", [{"min_instances": 3}, {"max_instances": 5}])
def test_bounds_that_are_no_whole_number_of_batches_are_refused(bounds: dict[str, int]) -> None:
    bench = Bench()
    spec = types_pb2.SessionSpec(application="app", batch_size=2, **bounds)
    bench.tell(ev.CreateSession("s", spec))
    why, text = bench.refusal()
    assert why is cmd.Refusal.INVALID_ARGUMENT
    assert "a multiple of batch_size (2)" in text


# --- what is forgotten ------------------------------------------------------------------------


def test_the_oldest_ended_tasks_of_a_session_are_forgotten_and_still_counted() -> None:
    bench = Bench(ended_tasks=2)
    session = bench.open()
    bench.call()
    bench.enter("i1")
    bench.finish("i1")
    for _ in range(2):
        bench.call()
        bench.finish("i1")
    assert sorted(session.tasks) == [2, 3]
    assert [(c.session_id, c.number) for c in bench.last(cmd.ForgetTask)] == [("s", 1)]
    assert session.counts[TaskState.SUCCEEDED] == 3


def test_the_sessions_closed_first_are_forgotten_first() -> None:
    bench = Bench(closed_sessions=1)
    for session_id in ("a", "b"):
        bench.open(session_id)
        bench.tell(ev.CloseSession(session_id))
    assert list(bench.scheduler.tables.sessions) == ["b"]
    assert [c.session_id for c in bench.last(cmd.ForgetSession)] == ["a"]
