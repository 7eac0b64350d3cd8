"""What a call finds around it where it runs: environment variables, folder, places of modules.

`runtime_env` is how users write it. A worker has one environment from its first moment to its end,
so nothing that was set or imported under one is seen under another.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from flame_remote.exceptions import InvalidOptionError

FIELDS: Final = ("env_vars", "working_dir", "py_modules")


@dataclass(frozen=True, slots=True)
class Environment:
    """An environment that is not simply the main program's. Hashable, so that they can be compared.

    `variables` are set beside those of the main program. `folder` is the working folder, which is
    also the first place where modules are looked for; "" for that of the main program. `modules`
    are packages, modules and folders of modules. All paths are absolute.
    """

    variables: tuple[tuple[str, str], ...] = ()
    folder: str = ""
    modules: tuple[str, ...] = ()

    def inside(self, outer: Environment | None) -> Environment:
        """Return this one within another: what it does not say is as there.

        Variables are put together, those of this one first; folder and modules are taken over.
        """
        if outer is None:
            return self
        return Environment(
            tuple(sorted({**dict(outer.variables), **dict(self.variables)}.items())),
            self.folder or outer.folder,
            self.modules or outer.modules,
        )

    def path(self) -> list[str]:
        """Return what goes before sys.path: the folder, and where each module is."""
        places = [self.folder] if self.folder else []
        return list(dict.fromkeys(places + [_place_of(module) for module in self.modules]))

    def check(self, name: str) -> None:
        """Raise InvalidOptionError if a folder or module is not there; `name` needs it."""
        if self.folder and not os.path.isdir(self.folder):
            raise InvalidOptionError(
                f"{name}: working_dir {self.folder!r} is not a folder that exists"
            )
        for module in self.modules:
            if not os.path.exists(module):
                raise InvalidOptionError(f"{name}: {module!r} in py_modules does not exist")


def _place_of(module: str) -> str:
    """Return the folder in which Python must look to find a module.

    A package and a file lie in it; any other folder is one of modules, and so is it itself.
    """
    if os.path.isfile(module) or os.path.exists(os.path.join(module, "__init__.py")):
        return os.path.dirname(module)
    return module


def checked_environment(name: str, value: object) -> Environment | None:
    """Check a `runtime_env` as users write it; None stands for none, and so does an empty one.

    Relative paths are taken from the working folder of this process, now.

    Raises:
        InvalidOptionError: a field is unknown, or a variable cannot have that name.
        TypeError: something is of the wrong type.
    """
    if value is None or isinstance(value, Environment):
        return value
    if not isinstance(value, Mapping):
        raise TypeError(
            f"{name} must be a dict such as {{'env_vars': {{'MODE': 'test'}}}}, not {_shown(value)}"
        )
    for field in value:
        if field not in FIELDS:
            raise InvalidOptionError(f"{name} has no field {field!r}; fields: {', '.join(FIELDS)}")
    folder = value.get("working_dir")
    environment = Environment(
        tuple(sorted(_variables(f"{name}['env_vars']", value.get("env_vars")))),
        "" if folder is None else _path(f"{name}['working_dir']", folder),
        tuple(_modules(f"{name}['py_modules']", value.get("py_modules"))),
    )
    return None if environment == Environment() else environment


def _variables(name: str, value: object) -> Iterator[tuple[str, str]]:
    if value is None:
        return
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a dict of strings, not {_shown(value)}")
    for variable, text in value.items():
        if not isinstance(variable, str) or not isinstance(text, str):
            raise TypeError(
                f"{name} must be a dict of strings, but has {_shown(variable)}: {_shown(text)}"
            )
        if not variable or "=" in variable or "\0" in variable + text:
            raise InvalidOptionError(f"{name}: no variable can be {variable!r}={text!r}")
        yield variable, text


def _modules(name: str, value: Any) -> Iterator[str]:
    if value is None:
        return
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"{name} must be a list of paths, not {_shown(value)}")
    for module in value:
        yield _path(f"a path in {name}", module)


def _path(name: str, value: Any) -> str:
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name} must be a path, not {_shown(value)}")
    path = os.fspath(value)
    if not isinstance(path, str) or not path:
        raise TypeError(f"{name} must be a path, not {_shown(value)}")
    return os.path.abspath(os.path.expanduser(path))


def _shown(value: object) -> str:
    return f"{type(value).__name__} ({value!r:.50})"
