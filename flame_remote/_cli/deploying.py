"""`flmctl deploy`: pack an application, store the package, register what it is."""

from __future__ import annotations

import hashlib
import sys
import tarfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from flame_remote._proto import frontend_pb2, types_pb2
from flame_remote.exceptions import ClusterError, FlameErrorCode
from flame_remote.runner.package import build_package
from flame_remote.runner.storage import storage_of

from . import applications
from .cluster import Cluster
from .ending import CommandError, UserError
from .manifest import read_manifests
from .settings import Settings
from .tables import card

PROFILES: Final = ("flame.yaml", "flm.yaml")  # a folder may say in one of them what it is
_PROJECT_FILES: Final = {"pyproject.toml", "setup.py", "setup.cfg"}
_ARCHIVES: Final = (".tar.gz", ".tgz")


@dataclass(frozen=True)
class Source:
    """What is deployed: a folder, or an archive. `files` are the paths at its top and below it."""

    path: Path
    is_archive: bool
    files: frozenset[str]


def deploy(
    settings: Settings,
    path: Path,
    name: str | None,
    given: Mapping[str, Any],
    *,
    dry_run: bool,
) -> None:
    """Pack what is at a path, store it, and register the application.

    Args:
        settings: which cluster, and the form of the output.
        path: a folder, or an archive `.tar.gz`.
        name: of the application; None for the one in the folder's profile.
        given: fields of ApplicationSpec that options set; they win over the profile.
        dry_run: only show what would be registered.

    Raises:
        UserError: the path is neither, or name or command are not known; nothing was stored.
        CommandError: there is an application of that name.
        ClusterError: the package cannot be made or stored, or the cluster refuses.
    """
    source = _source(path)
    profile_name, spec = _profile(source)
    name = name or profile_name
    if name is None:
        raise UserError(f"the application has no name: give --name, or add {PROFILES[0]} to {path}")
    spec = _completed(name, source, spec, given)
    cluster = settings.cluster()
    if not dry_run:
        _refuse_existing(cluster, name)
    with _package(cluster, source, name) as (file, stored_name):
        if not dry_run:
            spec.url = storage_of(cluster.context, name).upload(file, stored_name)
        size = file.stat().st_size
    if not dry_run:
        cluster.call(
            "RegisterApplication",
            frontend_pb2.RegisterApplicationRequest(name=name, application=spec),
        )
    _show(settings, name, spec, stored_name, size, dry_run)


def spec_fields(options: Mapping[str, Any]) -> dict[str, Any]:
    """Turn options into fields of ApplicationSpec; those that were not given are left out."""
    fields = {name: value for name, value in options.items() if value not in (None, (), {})}
    schema = {
        part: fields.pop(f"schema_{part}")
        for part in ("input", "output", "common_data")
        if f"schema_{part}" in fields
    }
    if schema:
        fields["schema"] = types_pb2.ApplicationSchema(**schema)
    if "shim" in fields:
        fields["shim"] = types_pb2.Shim.Value(fields["shim"].capitalize())
    if "environments" in fields:
        pairs = fields["environments"].items()
        fields["environments"] = [types_pb2.Environment(name=n, value=v) for n, v in pairs]
    return fields


def _source(path: Path) -> Source:
    """Look at what is to be deployed. Raises UserError if it cannot be."""
    try:
        if path.is_dir():
            tops = [file.relative_to(path) for file in path.glob("*")]
            mains = [file.relative_to(path) for file in path.glob("*/__main__.py")]
            return Source(path, False, frozenset(str(file) for file in [*tops, *mains]))
        if path.name.endswith(_ARCHIVES):
            with tarfile.open(path, "r:gz") as archive:
                names = [name.removeprefix("./") for name in archive.getnames()]
            return Source(path, True, frozenset(names))
    except (OSError, EOFError, tarfile.TarError) as error:
        raise UserError(f"cannot read {path}: {error}") from None
    what = "a file" if path.exists() else "not there"
    raise UserError(f"--application must be a folder or a .tar.gz archive; {path} is {what}")


def _profile(source: Source) -> tuple[str | None, types_pb2.ApplicationSpec]:
    """Read what a folder says about itself. Raises UserError."""
    for profile in PROFILES:
        if profile in source.files and not source.is_archive:
            manifests = read_manifests(str(source.path / profile))
            if len(manifests) != 1:
                raise UserError(
                    f"{source.path / profile} must describe one application, not {len(manifests)}"
                )
            return manifests[0].name, manifests[0].spec
    return None, types_pb2.ApplicationSpec()


def _completed(
    name: str, source: Source, spec: types_pb2.ApplicationSpec, given: Mapping[str, Any]
) -> types_pb2.ApplicationSpec:
    """Return the spec with what options say, and what can be told from the files."""
    asked = types_pb2.ApplicationSpec(**given)
    if asked.labels:  # merging would add to them
        spec.ClearField("labels")
    if asked.arguments:
        spec.ClearField("arguments")
    changed = {variable.name for variable in asked.environments}
    kept = [variable for variable in spec.environments if variable.name not in changed]
    spec.ClearField("environments")
    spec.environments.extend(kept)
    spec.MergeFrom(asked)
    if not spec.installer:
        spec.installer = "python" if _PROJECT_FILES & source.files else "binary"
    module = name.replace("-", "_").replace(".", "_")
    if not spec.command and f"{module}/__main__.py" in source.files:
        spec.command = "python"
        spec.arguments[:] = ["-m", module, *spec.arguments]
    if not spec.command:
        raise UserError(
            "the application has no command: give --command, add spec.command to "
            f"{PROFILES[0]}, or {module}/__main__.py"
        )
    return spec


def _refuse_existing(cluster: Cluster, name: str) -> None:
    """Raise if there is such an application; then nothing needs to be packed and stored."""
    try:
        cluster.call("GetApplication", frontend_pb2.GetApplicationRequest(name=name))
    except ClusterError as error:
        if error.code is FlameErrorCode.NOT_FOUND:
            return
        raise
    raise CommandError(
        f"application {name!r} already exists; `flmctl unregister -a {name}` removes it"
    )


@contextmanager
def _package(cluster: Cluster, source: Source, name: str) -> Iterator[tuple[Path, str]]:
    """Yield an archive and its name in the storage; one that is made here is removed at the end."""
    if source.is_archive:
        digest = hashlib.sha256(source.path.read_bytes()).hexdigest()[:16]
        yield source.path, f"{name}-{digest}.tar.gz"
        return
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        package = build_package(source.path, name, cluster.context.package_excludes)
    for warning in told:
        print(f"flmctl deploy: {warning.message}", file=sys.stderr)
    try:
        yield package.path, package.stored_name
    finally:
        package.remove()


def _show(
    settings: Settings,
    name: str,
    spec: types_pb2.ApplicationSpec,
    stored_name: str,
    size_bytes: int,
    dry_run: bool,
) -> None:
    def text() -> str:
        return card(
            [
                ("Application", name),
                ("Installer", spec.installer),
                ("Command", " ".join(_words(spec))),
                ("Package", f"{stored_name} ({size_bytes:,} bytes)"),
                ("URL", spec.url or "(dry run: nothing was stored or registered)"),
            ]
        )

    message = types_pb2.Application(metadata=types_pb2.Metadata(id=name, name=name), spec=spec)
    described = applications.as_json(message)
    for field in ("state", "created"):
        described.pop(field)
    package = {"package": stored_name, "package_bytes": size_bytes, "dry_run": dry_run}
    settings.show({**described, **package}, text)


def _words(spec: types_pb2.ApplicationSpec) -> Sequence[str]:
    return [spec.command, *spec.arguments]
