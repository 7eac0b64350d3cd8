"""Installs the packages of applications, by Flame's rules, once for each content."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from .archive import ArchiveError, unpack
from .download import DownloadError
from .environment import Installed, InstallError
from .processes import Program, SpawnerHandle, StartError
from .project import ProjectError, dependencies_of
from .records import Application

_PIP_SECONDS: Final = 900.0
_PROJECT_FILES: Final = ("pyproject.toml", "setup.py", "setup.cfg")
_OUTPUT_CHARACTERS: Final = 2000

# Prints those of the given requirements that are not installed for the interpreter that runs it.
_PROBE: Final = """
import importlib.metadata, json, re, sys
try:
    from packaging.requirements import Requirement
except ImportError:
    try:
        from pip._vendor.packaging.requirements import Requirement
    except ImportError:
        Requirement = None
def missing(text):
    name = re.match(r"[A-Za-z0-9._-]+", text)
    requirement = Requirement(text) if Requirement else None
    if requirement is not None:
        if requirement.marker is not None and not requirement.marker.evaluate():
            return False
        if requirement.url is not None:
            return True
    try:
        version = importlib.metadata.version(requirement.name if requirement else name[0])
    except importlib.metadata.PackageNotFoundError:
        return True
    return requirement is not None and not requirement.specifier.contains(version, True)
print(json.dumps([text for text in json.loads(sys.argv[1]) if missing(text)]))
"""


class PackageInstaller:
    """Fetches and unpacks packages and installs what they depend on. Belongs to the loop's thread.

    A package is kept by its content, so the same one is never unpacked twice and a changed one is
    never mistaken for it. A failure is told to whoever waits, and forgotten.
    """

    def __init__(
        self,
        home: Path,
        python: str,
        version: str,
        spawner: SpawnerHandle,
        fetch: Callable[[str, Path], None],
    ) -> None:
        """`version` is that of `python`; `fetch` blocks and is called in a thread."""
        self._home = home
        self._python = python
        self._version = version
        self._spawner = spawner
        self._fetch = fetch
        self._known: dict[tuple[str, float, str], asyncio.Task[Installed]] = {}
        self._runs = 0

    async def install(self, application: Application) -> Installed:
        """Install what an application needs, once. Raises InstallError."""
        spec = application.spec
        if spec.installer in ("", "none"):
            return Installed()
        if spec.installer not in ("python", "binary"):
            raise InstallError(
                f"unknown installer {spec.installer!r}; known are 'python' and 'binary'"
            )
        if not spec.url:
            return Installed(variables={"FLAME_PYTHON_VERSION": self._version})
        # A new registration may mean new content behind the same URL.
        key = (application.name, application.created, spec.url)
        task = self._known.get(key)
        if task is None:
            task = self._known[key] = asyncio.ensure_future(
                self._install(application.name, spec.url, spec.installer == "python")
            )
        try:
            return await asyncio.shield(task)
        except InstallError:
            self._known.pop(key, None)
            raise

    async def _install(self, name: str, url: str, is_python: bool) -> Installed:
        releases = self._home / "data" / "apps" / name / "releases"
        releases.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix="new-", dir=releases))
        try:
            release = await asyncio.get_running_loop().run_in_executor(
                None, self._unpack, url, staging, releases
            )
            source = release / "src"
            if not is_python:
                return _binary(source)
            await self._install_dependencies(name, url, source, release)
        except (OSError, ArchiveError, DownloadError, ProjectError) as error:
            raise InstallError(f"{url}: {error}") from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        return self._python_environment(source, release / "deps")

    def _unpack(self, url: str, staging: Path, releases: Path) -> Path:
        """Fetch and unpack in a thread; return the release's folder."""
        package = staging / "download"
        self._fetch(url, package)
        digest = hashlib.sha256(f"python{self._version}\n".encode())
        with open(package, "rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
        release = releases / digest.hexdigest()[:32]
        if not (release / "src").exists():
            release.mkdir(exist_ok=True)
            unpack(package, staging / "src")
            (staging / "src").rename(release / "src")
        return release

    # --- Python -------------------------------------------------------------------------

    async def _install_dependencies(self, name: str, url: str, source: Path, release: Path) -> None:
        if not any((source / file).exists() for file in _PROJECT_FILES):
            raise InstallError(f"{url}: the package has none of {', '.join(_PROJECT_FILES)}")
        if (release / "complete").exists():
            return
        dependencies = dependencies_of(source)
        if dependencies:
            missing = await self._missing(name, dependencies)
            if missing:
                await self._pip(name, missing, release / "deps")
        (release / "complete").touch()

    async def _missing(self, name: str, dependencies: list[str]) -> list[str]:
        status, output = await self._run(
            name, [self._python, "-c", _PROBE, json.dumps(dependencies)]
        )
        if status != 0:
            raise InstallError(f"cannot read the dependencies {dependencies}: {output}")
        missing: list[str] = json.loads(output)
        return missing

    async def _pip(self, name: str, missing: list[str], deps: Path) -> None:
        partial = deps.with_name("deps.new")
        shutil.rmtree(partial, ignore_errors=True)
        command = [
            *(self._python, "-m", "pip", "install", "--no-input", "--disable-pip-version-check"),
            *("--quiet", "--target", str(partial), *missing),
        ]
        status, output = await self._run(name, command)
        if status != 0:
            shutil.rmtree(partial, ignore_errors=True)
            raise InstallError(f"pip cannot install {', '.join(missing)}: {output}")
        shutil.rmtree(deps, ignore_errors=True)
        partial.rename(deps)

    async def _run(self, name: str, command: list[str]) -> tuple[int, str]:
        """Run a program; return its exit code (or minus a signal) and what it printed."""
        self._runs += 1
        run_id = f"install-{self._runs}"
        log = self._home / "logs" / "install" / f"{name}-{self._runs}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        env = {**os.environ, "FLAME_INSTANCE_ENDPOINT": run_id}  # marks what it starts as its own
        process = self._spawner.start(run_id, Program(command, env, str(self._home), log, log))
        try:
            await process.started()
            await asyncio.wait_for(asyncio.shield(process.ended), _PIP_SECONDS)
        except StartError as error:
            raise InstallError(f"{command[0]}: {error}") from error
        except asyncio.TimeoutError:
            raise InstallError(
                f"{' '.join(command[:4])} has not ended after {_PIP_SECONDS:g} s"
            ) from None
        finally:
            process.send(signal.SIGKILL)
        return process.exit_code, log.read_text("utf8", "replace")[-_OUTPUT_CHARACTERS:].strip()

    def _python_environment(self, source: Path, deps: Path) -> Installed:
        roots = [deps, source, source / "src"]
        paths = {"PYTHONPATH": os.pathsep.join(str(path) for path in roots if path.is_dir())}
        if (deps / "bin").is_dir():
            paths["PATH"] = str(deps / "bin")
        return Installed(paths, {"FLAME_PYTHON_VERSION": self._version})


def _binary(source: Path) -> Installed:
    folders = [source, source / "bin"]
    return Installed(
        paths={
            "PATH": os.pathsep.join(str(path) for path in folders if path.is_dir()),
            "LD_LIBRARY_PATH": os.pathsep.join(
                str(path) for path in (source / "lib", source) if path.is_dir()
            ),
        },
        variables={"FLAME_APP_DIR": str(source)},
    )
