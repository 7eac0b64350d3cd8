"""What happens in one simulated run: a program, the machine it runs on, and what goes wrong.

A scenario is plain data: made at random from a seed, written to a file when it has found a bug,
and cut down by leaving parts out. So every part may be missing: a step that refers to something
which was never made does nothing.
"""

from __future__ import annotations

import json
import random
from dataclasses import asdict, dataclass, field
from typing import Any, Final

# A step of a task's body, or of a thread of the driver:
#   ["work", seconds]
#   ["call", template, copies, back, handles]    `copies` tasks that take the result `back` ago, if
#                                                any; with `handles` they get the caller's handles
#   ["actor", template]                          makes an actor; the body holds its handle
#   ["method", back, template, copies, argument, handles]    calls the actor made `back` ago
#   ["get", back, count, mode]                   waits for results: "strict" fails with them,
#                                                "tolerant" does not care, "limited" has a time
#                                                limit, "any" is content with one
#   ["post", back]  ["board", back, mode]        pins a ref to a board; waits for one from there
#   ["cancel", back, force]  ["kill", back]  ["drop", back]
#   ["crash", times]                             ends its process, in the first `times` attempts
#   ["raise"]  ["flaky", times]                  raises; in the first `times` attempts
Step = list[Any]

FUNCTION: Final = "function"
ACTOR: Final = "actor"
METHOD: Final = "method"


@dataclass(slots=True)
class Template:
    """A function, a class or a method."""

    kind: str
    steps: list[Step]
    demand: dict[str, float] = field(default_factory=dict)
    max_retries: int = 0
    max_concurrency: int = 1
    attempts: int = 1  # times that it is started when it raises
    pause: float = 0.0  # between them
    deadline: float = 0.0  # seconds from the call on, 0 for none
    timeout: float = 0.0  # seconds that it may run, 0 for any
    priority: int | None = None
    max_calls: int = 0  # after so many its worker ends, 0 for never
    environment: str = ""  # "" for that of the main program
    memory: int = 0  # that it may take, 0 for any


@dataclass(slots=True)
class Settings:
    """The machine, and how it behaves."""

    resources: dict[str, float] = field(default_factory=lambda: {"CPU": 2.0})
    latency: float = 0.0002  # a message takes about so long
    boot: float = 0.02  # a process takes up to so long to start
    measured: str = "true"  # seconds that workers report: "true", "zero", "long", "noise"
    buffering: bool = True  # results are sent together
    hello: bool = True  # a worker says that it lives before it has something to say
    cycles: bool = False  # tasks may come to wait for each other: no waits for any of several
    failing_starts: float = 0.0  # how many processes fail to start, before `faults_until`
    faults_until: float = 0.0
    deaths: list[float] = field(default_factory=list)  # when some worker is killed from outside
    fragility: float = 0.0  # how often a worker dies between two things that it does
    outer_again: bool = True  # after help, the task beneath counts as the one started last
    deaf: float = 0.0  # how often a running task does not react to an interrupt
    greed: float = 0.0  # how often a task takes more memory than it may


@dataclass(slots=True)
class Scenario:
    """One run."""

    seed: int
    settings: Settings
    templates: list[Template]
    drivers: list[list[Step]]

    def to_json(self) -> str:
        """Return it as text, for a file."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Scenario:
        """Undo `to_json`."""
        data = json.loads(text)
        return cls(
            data["seed"],
            Settings(**data["settings"]),
            [Template(**template) for template in data["templates"]],
            data["drivers"],
        )

    @property
    def is_calm(self) -> bool:
        """Whether nothing goes wrong but what the program itself does, so that all is foreseeable."""  # noqa: E501
        settings = self.settings
        steps = [step for template in self.templates for step in template.steps]
        steps += [step for driver in self.drivers for step in driver]
        return not (
            settings.cycles
            or settings.failing_starts
            or settings.deaths
            or settings.fragility
            or settings.greed
            or any(template.deadline or template.timeout for template in self.templates)
            or any(step[0] in ("cancel", "kill", "crash", "board") for step in steps)
        )


class _Author:
    """Writes a random scenario."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.seed = seed
        chance = self.random.random
        self.cpus = self.random.choice([1, 1, 2, 2, 3, 4])
        self.calm = chance() < 0.2
        self.cycles = not self.calm and chance() < 0.4
        self.hogs = not self.cycles and chance() < 0.5  # actors that take CPUs from their makers
        self.templates: list[Template] = []
        self.functions: list[list[int]] = [[], [], []]  # template numbers by nesting level
        self.methods: list[list[int]] = [[], [], []]
        self.actors: list[int] = []
        self.hog_actors: list[int] = []
        self.waiters: list[int] = []  # functions that wait for what was posted last

    def write(self) -> Scenario:
        """Return the scenario."""
        for level in range(3):
            for _ in range(self.random.randint(2, 4)):
                self.functions[level].append(self._function(level))
            for _ in range(self.random.randint(1, 3)):
                self.methods[level].append(self._method(level))
        for _ in range(self.random.randint(1, 3)):
            self.actors.append(self._actor(self.random.choice([{}, {"A": 0.5}])))
        roots = list(self.functions[2])
        if self.cycles:
            self.waiters = [self._waiter(), self._waiter()]
            roots.append(self._parent_of_waiters())
        if self.hogs:
            self.hog_actors.append(self._actor({"CPU": 1.0}))
            roots += [self._hog_root() for _ in range(2)]
        drivers = [self._driver(roots) for _ in range(self.random.randint(1, 3))]
        return Scenario(self.seed, self._settings(), self.templates, drivers)

    def _settings(self) -> Settings:
        pick, chance = self.random.choice, self.random.random
        settings = Settings(
            resources={"CPU": float(self.cpus), "R": 2.0, "S": 1.0, "A": 99.0},
            latency=pick([0.00002, 0.0002, 0.001, 0.005]),
            boot=pick([0.0, 0.002, 0.02, 0.05]),
            measured=pick(["true", "true", "zero", "long", "noise"]),
            buffering=chance() < 0.7,
            hello=chance() < 0.8,
            cycles=self.cycles,
            outer_again=chance() < 0.5,
            deaf=pick([0.0, 0.3]),
        )
        if not self.calm:
            settings.faults_until = pick([0.1, 0.5])
            settings.failing_starts = pick([0.0, 0.0, 0.0, 0.1, 0.3, 0.9])
            times = (chance() * settings.faults_until for _ in range(pick([0, 0, 3, 15])))
            settings.deaths = sorted(round(time, 6) for time in times)
            settings.fragility = pick([0.0, 0.0, 0.002, 0.02])
        return settings

    def _add(self, template: Template) -> int:
        self.templates.append(template)
        return len(self.templates) - 1

    def _function(self, level: int) -> int:
        pick, chance = self.random.choice, self.random.random
        demand = {"CPU": pick([1.0, 1.0, 1.0, 1.0, 0.5, 0.25, 0.0, float(self.cpus)])}
        retries = pick([3, 3, 0, 1, -1])
        steps = self._work()
        if level == 0:
            if chance() < 0.1:
                demand[pick(["R", "S"])] = 1.0  # never held while it waits: that could be for ever
            elif self.cycles and chance() < 0.3:
                steps.append(self._board())
            if not self.calm and chance() < 0.08:
                steps.append(["crash", self.random.randint(1, 3)])
            if chance() < 0.08:
                steps.append(["raise"])
        else:
            steps += self._nested(level)
        return self._add(Template(FUNCTION, steps, demand, retries))

    def _method(self, level: int) -> int:
        steps = self._work()
        if level and self.random.random() < 0.7:
            steps += self._nested(level)
        elif self.cycles and self.random.random() < 0.2:
            steps.append(self._board())
        elif self.random.random() < 0.05:
            steps.append(["raise"])
        return self._add(Template(METHOD, steps))

    def _actor(self, demand: dict[str, float]) -> int:
        pick, chance = self.random.choice, self.random.random
        steps = self._work()
        if chance() < 0.2:
            steps.append(["call", pick(self.functions[0]), 2, 0, False])
            steps.append(["get", 0, 2, "tolerant"])
        if not self.calm and chance() < 0.25:
            steps.append(pick([["raise"], *[["crash", self.random.randint(1, 4)]] * 2]))
        concurrency = pick([1, 1, 1, 3])
        return self._add(Template(ACTOR, steps, demand, pick([0, 0, 2]), concurrency))

    def _hog_root(self) -> int:
        pick = self.random.choice
        steps: list[Step] = [["actor", self.hog_actors[0]]]
        steps += [["method", 0, pick(self.methods[1]), 2, 0, False]]
        steps += [["call", pick(self.functions[1]), 2, 0, False], ["get", 0, 4, "tolerant"]]
        return self._add(Template(FUNCTION, steps, {"CPU": 1.0}, pick([0, 3])))

    def _waiter(self) -> int:
        work = self.random.choice([0.0002, 0.002, 0.01])
        return self._add(Template(FUNCTION, [["work", work], self._board(0)], {"CPU": 1.0}, 1))

    def _parent_of_waiters(self) -> int:
        pick = self.random.choice
        steps: list[Step] = [["call", pick(self.waiters), self.random.randint(1, 3), 0, False]]
        if self.random.random() < 0.5:  # what fails may end the wait while others run on top of it
            fails = self._add(Template(FUNCTION, [["work", 0.005], ["raise"]], {"CPU": 1.0}))
            steps.append(["call", fails, 1, 0, False])
        steps.append(["work", pick([0.0, 0.002, 0.01, 0.05])])
        steps.append(["get", 0, 4, pick(["strict", "tolerant", "limited"])])
        return self._add(Template(FUNCTION, steps, {"CPU": 1.0}, 1))

    def _shares(self) -> bool:
        """Whether a method gets handles: with them, actors may come to wait for each other."""
        return self.cycles and self.random.random() < 0.5

    def _board(self, most: int = 12) -> Step:
        pick = self.random.choice
        return ["board", self.random.randint(0, most), pick(["tolerant", "tolerant", "limited"])]

    def _work(self) -> list[Step]:
        seconds = self.random.choice([0, 0, 0, 0, 0, 0.00001, 0.0002, 0.002, 0.02])
        return [["work", seconds]] if seconds else []

    def _nested(self, level: int) -> list[Step]:
        """A body that calls others, and mostly waits for them."""
        pick, chance, number = self.random.choice, self.random.random, self.random.randint
        steps: list[Step] = []
        if chance() < 0.1:
            steps += self._relay(level)
        for _ in range(number(1, 2)):
            if chance() < 0.7:
                copies = number(1, 5 if level == 1 else 2)
                back = number(1, 2) if chance() < 0.3 else 0
                callee = pick(self.functions[level - 1])
                steps.append(["call", callee, copies, back, chance() < 0.5])
            else:
                copies = number(1, 3)
                method = pick(self.methods[level - 1])
                argument, share = number(0, 1), self._shares()
                steps.append(["method", number(0, 2), method, copies, argument, share])
            if not self.calm and chance() < 0.15:
                steps.append(["cancel", number(0, 2), chance() < 0.5])
            if self.cycles and chance() < 0.05:
                steps.append(["kill", number(0, 2)])
            if chance() < 0.85:
                mode = pick(["strict", "strict", "strict", "tolerant", "limited", "any"])
                steps.append(["get", 0, number(1, 4), mode])
            if self.cycles and chance() < 0.3:
                steps.append(pick([["post", 0], self._board()]))
            steps += self._work()
        return steps

    def _relay(self, level: int) -> list[Step]:
        """An actor takes the result of a function that calls that actor itself."""
        pick = self.random.choice
        method = ["method", self.random.randint(0, 1), pick(self.methods[0]), 1, 1, False]
        mode = pick(["strict", "tolerant", "any"])
        relay: list[Step] = [["call", pick(self.functions[level - 1]), 1, 0, True], method]
        return [*relay, ["get", 0, pick([1, 2]), mode]]

    def _knot(self, roots: list[int]) -> list[Step]:
        """Tasks that wait for each other, through arguments, a queue of calls, or a parent."""
        pick, number = self.random.choice, self.random.randint
        waiter: Step = ["call", pick(self.waiters), 1, 0, False]
        method: Step = ["method", number(0, 1), pick(self.methods[0]), 1, 1, False]
        behind: Step = [*method[:3], 1, 0, False]
        knot = pick(
            [
                [waiter, ["call", pick(self.functions[0]), 1, 1, False]],
                [waiter, method],
                [waiter, method, behind],
                [waiter, method, behind, behind],
                [["call", roots[-1], pick([1, 1, 6]), 0, False]],
            ]
        )
        steps: list[Step] = [*knot, ["post", 0]]
        if self.random.random() < 0.3:
            steps += [["work", pick([0.002, 0.01, 0.05])], ["cancel", number(0, 2), True]]
        return steps

    def _driver(self, roots: list[int]) -> list[Step]:
        pick, chance, number = self.random.choice, self.random.random, self.random.randint
        steps: list[Step] = []
        many = pick([3, 20, 60])
        for _ in range(number(20, 60)):
            kind = chance()
            if kind < 0.35:
                leaf = pick(self.functions[0])
                steps.append(["call", leaf, number(1, many), pick([0, 0, 1, 5]), False])
            elif kind < 0.6:
                nested = pick(roots + self.functions[1])
                steps.append(["call", nested, number(1, 4), pick([0, 0, 2]), chance() < 0.5])
            elif kind < 0.68:
                steps.append(["actor", pick(self.actors)])
            elif kind < 0.85:
                method = pick(self.methods[number(0, 2)])
                copies = number(1, pick([2, 10, 30]))
                argument = pick([0, 0, 0, 1, 4])
                share = self._shares()
                steps.append(["method", number(0, 2), method, copies, argument, share])
            elif kind < 0.93:
                mode = pick(["tolerant", "limited", "any"])
                steps.append(["get", number(0, 5), number(1, 30), mode])
            elif kind < 0.96:
                steps.append([pick(["drop", "drop" if self.calm else "kill"]), number(0, 3)])
            if not self.calm and chance() < 0.1:
                for _ in range(number(1, 10)):
                    steps.append(["cancel", number(0, 40), chance() < 0.5])
                if chance() < 0.2:
                    steps += [["actor", pick(self.actors)], ["kill", 0]] * 4
            if not self.calm and chance() < 0.03:
                steps += [["actor", pick(self.actors)], ["work", pick([0.0002, 0.005, 0.02])]]
                steps += [["cancel", 0, True], ["kill", 0]]
            if self.cycles and chance() < 0.4:
                steps.append(["post", number(0, 5)])
            if self.cycles and chance() < 0.15:
                steps += self._knot(roots)
            if chance() < 0.3:
                steps.append(["work", pick([0.0001, 0.001, 0.01, 0.05])])
        return steps


def scenario_of(seed: int) -> Scenario:
    """Return the scenario of a seed: always the same."""
    scenario = _Author(seed).write()
    _add_terms(scenario)
    _add_needs(scenario)
    return scenario


def _add_needs(scenario: Scenario) -> None:
    """Let some want an environment, GPUs, or a process that is watched."""
    chosen = random.Random(scenario.seed + 0.25)  # as in _add_terms
    chance, pick = chosen.random, chosen.choice
    if chance() < 0.3:
        for template in scenario.templates:
            if template.kind != METHOD:
                template.environment = pick(["", "", "a", "b"])
    if chance() < 0.4:
        scenario.settings.resources["GPU"] = pick([1.0, 2.0, 2.5])
        # Not both: what waits with a GPU for one that needs a GPU may wait for ever.
        leaves = chance() < 0.6
        for template in scenario.templates:
            waits = any(
                step[0] not in ("work", "raise", "flaky", "crash") for step in template.steps
            )
            if template.kind == FUNCTION and chance() < 0.4:
                if leaves and not waits:
                    template.demand["GPU"] = pick([0.3, 0.5, 1.0, 1.0])
                elif waits and not leaves:
                    template.demand["GPU"] = 0.001
    if chance() < 0.3:
        scenario.settings.greed = 0.0 if scenario.is_calm else pick([0.0, 0.1])
        for template in scenario.templates:
            if template.kind != METHOD and chance() < 0.2:
                template.memory = 1


def _add_terms(scenario: Scenario) -> None:
    """Let some functions be tried again, be urgent, or have little time."""
    chosen = random.Random(scenario.seed + 0.5)  # apart: what is above stays as it was
    chance, pick = chosen.random, chosen.choice
    is_calm = scenario.is_calm
    for template in scenario.templates:
        if template.kind == FUNCTION:
            if chance() < 0.2:
                template.priority = pick([-1, 0, 1, 5])
            if chance() < 0.1:
                template.max_calls = chosen.randint(1, 4)
            if chance() < 0.2:
                template.attempts = chosen.randint(2, 4)
                template.pause = pick([0.0, 0.001, 0.02, 0.2])
                template.steps.append(["flaky", chosen.randint(1, 4)])
        if not is_calm and template.kind != ACTOR:
            if chance() < 0.1:
                template.deadline = pick([0.002, 0.02, 0.2])
            if chance() < 0.1:
                template.timeout = pick([0.002, 0.02, 0.2])
