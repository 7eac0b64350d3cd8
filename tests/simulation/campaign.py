"""Many seeds in one process: `python -m tests.simulation.campaign FIRST BEYOND STEP`.

Prints how many events the scheduler has handled, and the first seed that fails, as JSON.
"""

from __future__ import annotations

import gc
import json
import sys

from .scenario import scenario_of
from .world import World

_WORLDS_PER_COLLECTION = 8  # each is one large cycle; Python's own choice of when is much slower


def run(seeds: range) -> dict[str, object]:
    """Run one world for each seed, up to the first that fails."""
    events = 0
    gc.disable()
    gc.freeze()
    for number, seed in enumerate(seeds):
        world = World(scenario_of(seed))
        try:
            world.run()
        except Exception as error:
            return {"events": events, "seed": seed, "error": f"{type(error).__name__}: {error}"}
        events += world.events
        if number % _WORLDS_PER_COLLECTION == 0:
            gc.collect()
    return {"events": events, "seed": None, "error": ""}


if __name__ == "__main__":
    print(json.dumps(run(range(*map(int, sys.argv[1:])))))
