"""The output of instances: a file each for what they write to standard output and error."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Final

_KEPT: Final = 200  # instances that have ended


class InstanceLogs:
    """The folder of the files. Keeps those of the last instances that have ended."""

    def __init__(self, folder: Path) -> None:
        """Make the folder if need be. Raises OSError."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        files = sorted(folder.glob("*.*"), key=lambda path: path.stat().st_mtime)
        self._ended = deque(dict.fromkeys(path.stem for path in files))
        self._trim()

    def files(self, instance_id: str) -> tuple[Path, Path]:
        """Return where an instance writes its standard output, and its standard error."""
        return self._folder / f"{instance_id}.out", self._folder / f"{instance_id}.err"

    def ended(self, instance_id: str) -> None:
        """An instance has ended: its files stay for a while, if there is anything in them."""
        for path in self.files(instance_id):
            with suppress(OSError):
                if not path.stat().st_size:
                    path.unlink()
        self._ended.append(instance_id)
        self._trim()

    def _trim(self) -> None:
        while len(self._ended) > _KEPT:
            for path in self.files(self._ended.popleft()):
                path.unlink(missing_ok=True)
