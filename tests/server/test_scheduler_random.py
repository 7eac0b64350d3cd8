"""The scheduler under random events: whatever comes, it keeps its promises."""

from __future__ import annotations

import random

import pytest

from flame_remote._proto import types_pb2
from flame_remote._server import commands as cmd
from flame_remote._server import events as ev
from flame_remote._server.records import Task
from flame_remote._server.states import InstanceState, SessionState, TaskState
from tests.server.bench import Bench

STEPS = 1500


class World:
    """Plays clients and processes around a scheduler, and looks at it after each event."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.bench = Bench(instances=3, overcommit=6, bind_attempts=2)
        self.alive: dict[str, Task | None] = {}  # processes that were not told to end
        self.entered: set[str] = set()
        self.leaving: set[str] = set()
        self.tasks: list[Task] = []
        self.ended: dict[int, TaskState] = {}  # by identity of the task
        self.opened = 0

    def tell(self, event: ev.Event) -> None:
        for command in self.bench.tell(event):
            self.carry_out(command)
        self.check()

    def carry_out(self, command: cmd.Command) -> None:
        match command:
            case cmd.StartInstance(instance):
                assert instance.id not in self.alive
                self.alive[instance.id] = None
            case cmd.RunTask(instance_id, task):
                assert instance_id in self.entered
                assert self.alive[instance_id] is None, "two tasks at once"
                self.alive[instance_id] = task
            case cmd.StopInstance(instance_id):
                del self.alive[instance_id]
                self.leaving.add(instance_id)
            case cmd.TellWatchers(task) if task.state.ended:
                assert id(task) not in self.ended, "ended twice"
                self.ended[id(task)] = task.state
            case cmd.Answer(Task() as task):
                self.tasks.append(task)

    def check(self) -> None:
        tables = self.bench.scheduler.tables
        assert len(self.alive) <= 6
        for session in tables.sessions.values():
            counted = [0] * len(TaskState)
            for task in session.tasks.values():
                counted[task.state] += 1
            assert session.counts == counted
            assert len(session.instances) <= session.max_instances
            assert sorted(session.pending) == [
                t.number for t in session.tasks.values() if t.state is TaskState.PENDING
            ]
            free = {i.id for i in session.instances.values() if i.state is InstanceState.FREE}
            assert {i.id for i in session.free} == free
            assert not (free and session.pending), "a task waits beside a free instance"
            if session.state is SessionState.CLOSED:
                assert not session.instances
                assert not session.pending
        assert set(tables.instances) == set(self.alive) | self.leaving

    def step(self) -> None:
        choice = self.random.random()
        sessions = list(self.bench.scheduler.tables.sessions)
        if choice < 0.05 or not sessions:
            self.opened += 1
            minimum = self.random.choice([0, 0, 1])
            spec = types_pb2.SessionSpec(application="app", min_instances=minimum)
            if self.random.random() < 0.5:
                spec.max_instances = 1 + self.random.randrange(3)
            self.tell(ev.CreateSession(f"s{self.opened}", spec))
        elif choice < 0.35:
            self.tell(ev.CreateTask(self.random.choice(sessions), b""))
        elif choice < 0.38:
            self.tell(ev.CloseSession(self.random.choice(sessions)))
        elif choice < 0.40:
            self.tell(ev.DeleteSession(self.random.choice(sessions)))
        elif choice < 0.45:
            self.bench.now += self.random.choice([1.0, 61.0])
            self.tell(ev.TimePassed())
        elif choice < 0.55 and self.leaving:
            instance_id = self.random.choice(sorted(self.leaving))
            self.leaving.discard(instance_id)
            ending = self.random.choice([ev.InstanceGone, ev.InstanceFailed, ev.InstanceLost])
            self.tell(_ending(ending, instance_id))
        elif self.alive:
            self.process_step(self.random.choice(sorted(self.alive)))

    def process_step(self, instance_id: str) -> None:
        task = self.alive[instance_id]
        accident = self.random.random() < 0.05
        if instance_id not in self.entered:
            if accident:
                del self.alive[instance_id]
                self.tell(ev.InstanceFailed(instance_id, 12, "no"))
            else:
                self.entered.add(instance_id)
                self.tell(ev.InstanceEntered(instance_id))
        elif accident:
            del self.alive[instance_id]
            self.tell(ev.InstanceLost(instance_id, "gone", self.random.random() < 0.5))
        elif task is not None:
            self.alive[instance_id] = None
            self.tell(ev.TaskReturned(instance_id, self.random.choice([0, 0, 0, -1]), b"", "e"))

    def drain(self) -> None:
        """Let everything that can end do so, without accidents."""
        for _ in range(20_000):
            busy = [i for i in self.alive if i not in self.entered or self.alive[i] is not None]
            if self.leaving:
                self.tell(ev.InstanceGone(self.leaving.pop()))
            elif busy:
                instance_id = busy[0]
                if instance_id in self.entered:
                    self.alive[instance_id] = None
                    self.tell(ev.TaskReturned(instance_id, 0, b"", ""))
                else:
                    self.entered.add(instance_id)
                    self.tell(ev.InstanceEntered(instance_id))
            else:
                return
        raise AssertionError("it does not come to rest")


def _ending(kind: type, instance_id: str) -> ev.Event:
    if kind is ev.InstanceGone:
        return ev.InstanceGone(instance_id)
    if kind is ev.InstanceFailed:
        return ev.InstanceFailed(instance_id, 12, "stopped")
    return ev.InstanceLost(instance_id, "stopped", False)


@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens_each_task_ends_once_and_none_waits_for_ever(seed: int) -> None:
    world = World(seed)
    for _ in range(STEPS):
        world.step()
    world.drain()
    waiting = [t for t in world.tasks if not t.state.ended]
    assert waiting == []
    assert len(world.tasks) > STEPS / 8
