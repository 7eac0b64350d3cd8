"""With which command, environment and folder an instance is started, by Flame's rules."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from flame_remote._proto import types_pb2

from .logs import InstanceLogs
from .processes import Program

_VARIABLE: Final = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_TEMPORARY: Final = ("TMPDIR", "TEMP", "TMP")


@dataclass(frozen=True)
class Surroundings:
    """What is the same for all instances of a cluster.

    Args:
        inherited: the environment that instances start from.
        told: variables that no application can change: endpoints, log level.
        work: the folder in which an instance without a working directory gets its own.
        logs: where instances write.
    """

    inherited: Mapping[str, str]
    told: Mapping[str, str]
    work: Path
    logs: InstanceLogs


class InstallError(Exception):
    """A package could not be installed; the text says what was tried and why it failed."""


@dataclass(frozen=True)
class Installed:
    """What an installed package adds to the environment of its instances."""

    paths: Mapping[str, str] = field(default_factory=dict)  # put before the application's own
    variables: Mapping[str, str] = field(default_factory=dict)  # where the application has none


def working_folder(spec: types_pb2.ApplicationSpec, surroundings: Surroundings, name: str) -> Path:
    """Return the folder an instance runs in: the application's, or one of its own."""
    if spec.working_directory:
        return Path(spec.working_directory)
    return surroundings.work / name


def program_of(
    application: str,
    spec: types_pb2.ApplicationSpec,
    surroundings: Surroundings,
    installed: Installed,
    instance_id: str,
    socket: Path,
) -> Program:
    """Return what to run for an instance. Makes its folders.

    Raises OSError if a folder cannot be made, ValueError if the application has no command.
    """
    if not spec.command:
        raise ValueError(f"application {application} has no command")
    folder = working_folder(spec, surroundings, instance_id)
    temporary = folder / "work" / application / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)

    own = {e.name: expand(e.value, surroundings.inherited) for e in spec.environments}
    env = {**surroundings.inherited, **own}
    env.update(surroundings.told)
    env["FLAME_INSTANCE_ENDPOINT"] = str(socket)
    for variable in _TEMPORARY:
        if variable not in own:
            env[variable] = str(temporary)
    for variable, value in installed.variables.items():
        if variable not in own:
            env[variable] = value
    for variable, value in installed.paths.items():
        # A search path of programs is of no use without the system's; another one that the
        # application does not set is replaced, so that nothing of ours gets into it.
        rest = env.get(variable, "") if variable == "PATH" else own.get(variable, "")
        env[variable] = os.pathsep.join(part for part in (value, rest) if part)

    argv = [expand(word, env, surroundings.inherited) for word in (spec.command, *spec.arguments)]
    out, err = surroundings.logs.files(instance_id)
    return Program(argv, env, str(folder), out, err)


def expand(text: str, *sources: Mapping[str, str]) -> str:
    """Replace $NAME and ${NAME} by the first source that has it; unknown ones stay."""

    def value_of(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        for source in sources:
            if name in source:
                return source[name]
        return match[0]

    return _VARIABLE.sub(value_of, text)
