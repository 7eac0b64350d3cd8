"""How a process is started: anew, or forked from one that has done its imports."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from .bootstrap import STOCK_WORKER
from .processes import Process, Program, SpawnerHandle, SpawnerKind

# Variables that an interpreter or a library reads once, when it is loaded: a process that needs
# other values than the zygote has cannot be forked from it. PYTHONPATH is seen to.
_READ_ONCE: Final = ("PYTHON", "LD_", "MALLOC", "GRPC_", "ARROW_", "OMP_", "OPENBLAS_", "MKL_")


class Launcher:
    """Starts the processes of instances. Belongs to the loop's thread."""

    def __init__(
        self, spawner: SpawnerHandle, uv: Path, python: str, version: str, log: Path
    ) -> None:
        """Take what is needed to know a worker.

        Args:
            spawner: starts what cannot be forked.
            uv: the launcher in FLAME_HOME.
            python: the interpreter of instances.
            version: of `python`.
            log: where the zygote writes.
        """
        self._spawner = spawner
        self._env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        self._zygote = SpawnerHandle(
            SpawnerKind(python, "flame_remote._server.zygote:run", self._env, log)
        )
        self._warm = False  # the zygote was started
        self._commands = [
            [str(uv), "run", "--python", f"python{version}", "python", "-m", STOCK_WORKER],
            [str(uv), "run", "python", "-m", STOCK_WORKER],
        ]

    def warm_up(self) -> None:
        """Start the zygote, which takes about a second of CPU time."""
        if not self._warm:
            self._warm = True
            self._zygote.open()

    async def start(self, process_id: str, program: Program) -> Process:
        """Start a process; returns before it runs. Raises OSError."""
        if program.argv in self._commands and _same(program.env, self._env):
            self.warm_up()
            # No slower than another start from the beginning, if it is not ready yet.
            told = await self._zygote.ready()
            if self._zygote.is_open and not _shadowed(told.get("loaded", ()), program):
                return self._zygote.start(process_id, program)
        return self._spawner.start(process_id, program)

    async def close(self) -> None:
        """End the zygote and what was forked from it."""
        if self._warm:
            await self._zygote.close()


def _same(env: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Say whether two environments agree in what is read once."""
    names = {
        name for name in (*env, *other) if name.startswith(_READ_ONCE) and name != "PYTHONPATH"
    }
    return all(env.get(name) == other.get(name) for name in names)


def _shadowed(loaded: Iterable[str], program: Program) -> bool:
    """Say whether the program's path has another module in place of one that is loaded."""
    path = program.env.get("PYTHONPATH", "").split(os.pathsep)
    entries = {program.cwd, *(part for part in path if part)}
    for entry in entries:
        try:
            found = {name.partition(".")[0] for name in os.listdir(entry)}
        except OSError:
            continue
        if not found.isdisjoint(loaded):
            return True
    return False
