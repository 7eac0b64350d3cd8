"""A Runner's application on a Flame cluster: packed, stored, registered, and taken back."""

from __future__ import annotations

import os
import posixpath
import re
import threading
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from flame_remote._deadline import Deadline
from flame_remote.exceptions import ClusterError, FlameErrorCode, InvalidOptionError

from .folder import DIST
from .package import Package, PackageWarning, build_package, digest_of_folder
from .storage import Storage, storage_of

if TYPE_CHECKING:
    from flame_remote.core.application import Application as Registered
    from flame_remote.core.application import ApplicationAttributes
    from flame_remote.core.connection import Connection
    from flame_remote.core.context import FlameContext

# Says that a Runner made the application, and of which contents; the other labels, which process.
_LABEL: Final = "flame-remote.package="
_RUNNER: Final = "runner."
_PYTHON_VERSION: Final = "FLAME_PYTHON_VERSION"
_CALL_SECONDS: Final = 5.0  # for an answer of the cluster at the end
_PAUSE_SECONDS: Final = 0.1  # between two attempts to close a session
_LEFT_OVER_SECONDS: Final = 10.0  # for the sessions of a process that was killed


class Application:
    """An application that a Runner uses. `close` takes back what `open` has put on the cluster."""

    def __init__(
        self,
        context: FlameContext,
        name: str,
        storage: Storage | None = None,
        package: Package | None = None,
    ) -> None:
        """Without a package it is somebody else's, and left as it is."""
        self._context = context
        self._name = name
        self._storage = storage
        self._package = package

    @property
    def is_ours(self) -> bool:
        """Whether it was registered here, and is not somebody else's."""
        return self._package is not None

    @classmethod
    def open(
        cls,
        context: FlameContext,
        name: str,
        *,
        fail_if_exists: bool,
        dependencies: Sequence[str] | None,
        python_version: str | None,
    ) -> Application:
        """Use the application of that name; pack the current folder and register one if there is
        none. What fails half-way leaves nothing behind. Blocks; see Runner for the arguments.

        Raises:
            ClusterError: see Runner.
            InvalidOptionError: a dependency or the version is none.
        """
        from flame_remote.core.applications import get_application

        _check_python_version(python_version)
        connection = _connection(context)
        existing = get_application(name, connection=connection)
        storage: Storage | None = None
        if existing is not None and _is_left_over(existing):
            storage = storage_of(context, name)
            _remove(existing, context, storage)
        elif existing is not None:
            if fail_if_exists:
                raise _exists_already(name, context)
            _warn_of_reuse(existing, context, dependencies, python_version)
            return cls(context, name)
        storage = storage or storage_of(context, name)
        template = _template(context, connection)
        package = build_package(Path.cwd(), name, context.package_excludes, dependencies)
        try:
            url = storage.upload(package.path, package.stored_name)
            try:
                attributes = _attributes(template, name, url, package, python_version)
                if not _register(name, attributes, connection):
                    if fail_if_exists:
                        raise _exists_already(name, context)
                    package.remove()
                    return cls(context, name)  # somebody else was faster, perhaps with this package
            except BaseException:
                with suppress(ClusterError):
                    storage.delete(package.stored_name)
                raise
        except BaseException:
            package.remove()
            raise
        return cls(context, name, storage, package)

    def close(self, errors: list[Exception], patience: float) -> None:
        """Unregister the application and remove its objects and package; add errors to the list.

        For `patience` seconds it waits for calls that still run; it then stays registered, and
        keeps all it needs.
        """
        package, self._package = self._package, None
        if package is None or self._storage is None:
            return
        package.remove()
        try:
            self._unregister(Deadline(patience))
        except Exception as error:
            errors.append(error)
            return
        for step in (self._delete_objects, partial(self._storage.delete, package.stored_name)):
            try:
                step()
            except Exception as error:
                errors.append(error)

    def _close_sessions(self) -> None:
        """Close those that tasks have opened and nobody closes."""
        from flame_remote.core.session import SessionState
        from flame_remote.core.sessions import close_session, list_sessions

        connection = _connection(self._context)
        for session in list_sessions(timeout=_CALL_SECONDS, connection=connection):
            if session.application == self._name and session.state is SessionState.OPEN:
                with suppress(ClusterError):  # unregistering will tell
                    close_session(session.id, timeout=_CALL_SECONDS, connection=connection)

    def _unregister(self, deadline: Deadline) -> None:
        from flame_remote.core.applications import unregister_application

        connection, pause = _connection(self._context), threading.Event()
        while True:
            try:
                self._close_sessions()
                unregister_application(self._name, timeout=_CALL_SECONDS, connection=connection)
                return
            except ClusterError as error:
                if error.code is FlameErrorCode.NOT_FOUND:
                    return
                if error.code is not FlameErrorCode.INVALID_STATE or deadline.expired():
                    raise self._still_registered(error) from error
            # A session cannot be closed while a task runs, and nobody tells when that ends.
            pause.wait(_PAUSE_SECONDS)

    def _still_registered(self, error: ClusterError) -> ClusterError:
        return ClusterError(
            f"the application {self._name!r} is still registered at {self._context.endpoint}: "
            f"{error}; close its sessions (flmctl list --session, flmctl close -s ID) and "
            f"remove it with: flmctl unregister -a {self._name}",
            error.code,
        )

    def _delete_objects(self) -> None:
        from flame_remote.core.objects import delete_objects

        delete_objects(f"{self._name}/*", context=self._context)


def _connection(context: FlameContext) -> Connection:
    from flame_remote.core.connection import get_connection

    return get_connection(context)


def _template(context: FlameContext, connection: Connection) -> Registered:
    """Return the application that Runners copy."""
    from flame_remote.core.applications import get_application

    name, origin = context.runner_template, context.origin("runner_template")
    template = get_application(name, connection=connection)
    if template is None:
        raise ClusterError(
            f"the cluster at {context.endpoint} has no application {name!r}, of which a Runner "
            f"makes a copy (runner.template, from {origin}): register it with "
            "`flmctl register -f FILE`, or name another one (`flmctl list --application` shows "
            "those that are there)",
            FlameErrorCode.NOT_FOUND,
        )
    return template


def _attributes(
    template: Registered, name: str, url: str, package: Package, python_version: str | None
) -> ApplicationAttributes:
    environments = dict(template.environments)
    if python_version is not None:
        environments[_PYTHON_VERSION] = python_version
    folder = template.working_directory
    return replace(
        template.attributes,
        description=f"Runner application: {name}",
        labels=[*template.labels, _LABEL + package.digest, *_owner_labels()],
        environments=environments,
        working_directory=posixpath.join(folder, name) if folder else None,
        installer=template.installer or "python",
        url=url,
    )


# --- what a killed process has left ---------------------------------------------------------------


def _owner_labels() -> list[str]:
    from flame_remote._flame import owners

    return [_RUNNER + label for label in owners.labels()]


def _is_left_over(existing: Registered) -> bool:
    """Say whether a Runner of this machine made an application and could not remove it."""
    from flame_remote._flame import owners

    labels = [label for label in existing.labels if label.startswith(_RUNNER)]
    return owners.is_orphan(label.removeprefix(_RUNNER) for label in labels)


def _remove(existing: Registered, context: FlameContext, storage: Storage) -> None:
    """Remove an application with its sessions, objects and package."""
    stored_name = posixpath.basename(existing.url or "")
    path = Path.cwd() / DIST / f"{existing.name}.tar.gz"
    errors: list[Exception] = []
    package = Package(path, stored_name, "", 0)
    Application(context, existing.name, storage, package).close(errors, _LEFT_OVER_SECONDS)
    if errors:
        raise errors[0]


# --- parts of `open` ------------------------------------------------------------------------------


def _register(name: str, attributes: ApplicationAttributes, connection: Connection) -> bool:
    """Register an application; False if there is one of that name by now."""
    from flame_remote.core.applications import register_application

    try:
        register_application(name, attributes, connection=connection)
    except ClusterError as error:
        if error.code is FlameErrorCode.ALREADY_EXISTS:
            return False
        raise
    return True


def _exists_already(name: str, context: FlameContext) -> ClusterError:
    return ClusterError(
        f"application {name!r} already exists at {context.endpoint}: choose another name, remove "
        f"it with `flmctl unregister -a {name}`, or use it as it is with fail_if_exists=False",
        FlameErrorCode.ALREADY_EXISTS,
    )


def _warn_of_reuse(
    existing: Registered,
    context: FlameContext,
    dependencies: Sequence[str] | None,
    python_version: str | None,
) -> None:
    """Tell who asks for something that an application which is there already does not have."""
    if "FLAME_INSTANCE_ENDPOINT" in os.environ:
        return  # in a worker of that very application
    what = (
        f"application {existing.name!r} already exists at {context.endpoint} and is used as it is"
    )
    remove = f"; remove it with `flmctl unregister -a {existing.name}` to have it made anew"
    for option, value in (("dependencies", dependencies), ("python_version", python_version)):
        if value:
            _tell(f"{what}: {option}={value!r} has no effect{remove}")
    digests = [label for label in existing.labels if label.startswith(_LABEL)]
    if digests and not dependencies and digests[0] != _LABEL + _digest_here(existing, context):
        _tell(f"{what}: its workers have other files than this folder{remove}")


def _digest_here(existing: Registered, context: FlameContext) -> str:
    """Return the digest that a package of the current folder would have."""
    return digest_of_folder(Path.cwd(), existing.name, context.package_excludes)


def _tell(text: str) -> None:
    warnings.warn(text, PackageWarning, stacklevel=5)


def _check_python_version(version: str | None) -> None:
    if version is None:
        return
    if not isinstance(version, str) or not re.fullmatch(r"3\.\d{1,2}(\.\d+)?", version):
        raise InvalidOptionError(f"python_version must be like '3.12', not {version!r}")
