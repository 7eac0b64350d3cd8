"""What all instances share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from . import events as ev
from .environment import Installed, Surroundings
from .launching import Launcher
from .records import Application
from .sockets import SocketFolder


class Installer(Protocol):
    """Installs the packages of applications."""

    async def install(self, application: Application) -> Installed:
        """Install what an application needs, once. Raises InstallError."""
        ...


@dataclass(frozen=True)
class Patience:
    """How long an instance may take, in seconds."""

    start: float = 120.0  # until its socket is there
    enter: float = 600.0  # to accept the session: it may load a large model
    leave: float = 5.0  # to leave it
    end: float = 3.0  # from SIGTERM to SIGKILL
    obituary: float = 2.0  # from a broken connection to the end of the process


@dataclass(frozen=True)
class Workshop:
    """What all instances share."""

    launcher: Launcher
    sockets: SocketFolder
    installer: Installer
    surroundings: Surroundings
    patience: Patience
    tell: Callable[[ev.Event], None]
