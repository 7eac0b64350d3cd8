"""Which cluster to talk to, and how: from arguments, the environment and ~/.flame/flame.yaml."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from flame_remote.exceptions import ClusterError, FlameErrorCode

from .endpoint import CACHE_PORT, CACHE_SCHEMES, CLUSTER_PORT, CLUSTER_SCHEMES, Endpoint

if TYPE_CHECKING:
    from .settings_file import Section

DEFAULT_FLAME_CONF: Final = "flame.yaml"
DEFAULT_FLAME_ENDPOINT: Final = "http://127.0.0.1:8080"
DEFAULT_FLAME_CACHE_ENDPOINT: Final = "grpc://127.0.0.1:9090"
DEFAULT_FLAME_RUNNER_TEMPLATE: Final = "flmrun"

# Field -> the variable that sets it. FLAME_CA_FILE is weaker than the file, the others stronger.
_VARIABLES: Final = {
    "endpoint": "FLAME_ENDPOINT",
    "cache_endpoint": "FLAME_CACHE_ENDPOINT",
    "cache_storage": "FLAME_CACHE_STORAGE",
    "token": "FLAME_TOKEN",
}
_CA_VARIABLE: Final = "FLAME_CA_FILE"
_CA_FIELDS: Final = ("cluster_ca_file", "cache_ca_file")
_DEFAULTS: Final = {
    "endpoint": DEFAULT_FLAME_ENDPOINT,
    "cache_endpoint": DEFAULT_FLAME_CACHE_ENDPOINT,
    "runner_template": DEFAULT_FLAME_RUNNER_TEMPLATE,
}
# Field -> where it stands inside a context of the file.
_PLACES: Final = {
    "endpoint": ("cluster", "endpoint"),
    "token": ("cluster", "token"),
    "cluster_ca_file": ("cluster", "tls", "ca_file"),
    "cache_endpoint": ("cache", "endpoint"),
    "cache_storage": ("cache", "storage"),
    "cache_ca_file": ("cache", "tls", "ca_file"),
    "package_storage": ("package", "storage"),
    "package_excludes": ("package", "excludes"),
    "runner_template": ("runner", "template"),
}


@dataclass(frozen=True, slots=True)
class FlameContext:
    """Which cluster to talk to, and how. Made by `FlameContext.load()`.

    `endpoint` begins with http or https, `cache_endpoint` with grpc or grpcs. The CA files hold the
    roots that servers are verified against; without, the system's are used. `cache_storage` is a
    folder that is shared with the cache. `package_storage` is where packages go, None for the
    cache; `package_excludes` are patterns of files that never go into one. `runner_template` is the
    application that runners copy. `token` is sent with every call. `origins` tells for each field
    where its value came from, for people: "FLAME_ENDPOINT", "default", or a place in a file.
    """

    endpoint: str = DEFAULT_FLAME_ENDPOINT
    cache_endpoint: str = DEFAULT_FLAME_CACHE_ENDPOINT
    cache_storage: str | None = None
    cluster_ca_file: str | None = None
    cache_ca_file: str | None = None
    package_storage: str | None = None
    package_excludes: tuple[str, ...] = ()
    runner_template: str = DEFAULT_FLAME_RUNNER_TEMPLATE
    token: str | None = field(default=None, repr=False)
    origins: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def load(
        cls,
        endpoint: str | None = None,
        cache_endpoint: str | None = None,
        path: str | os.PathLike[str] | None = None,
        *,
        context: str | None = None,
    ) -> FlameContext:
        """Settle every setting: the argument, else the environment, else the file, else a default.

        The environment: FLAME_ENDPOINT, FLAME_CACHE_ENDPOINT, FLAME_CACHE_STORAGE, FLAME_TOKEN;
        FLAME_CA_FILE for the CA files that the file does not name; FLAME_CONFIG for another file.
        A variable that is empty counts as not set.

        Args:
            endpoint: of the cluster, as "http://host:port"; https for TLS. "flame://" is http.
            cache_endpoint: of the object cache, as "grpc://host:port"; grpcs for TLS.
            path: of the file; without, FLAME_CONFIG or ~/.flame/flame.yaml, which need not exist.
            context: name of the file's context to use instead of the current one.

        Returns:
            The context.

        Raises:
            ClusterError: INVALID_CONFIG; the file is malformed (the text has file, line and what
                was expected), names a context that it does not have, or an address is none.
        """
        values: dict[str, Any] = dict(_DEFAULTS)
        origins = dict.fromkeys(_PLACES, "default")

        def put(name: str, value: Any, origin: str) -> None:
            values[name], origins[name] = value, origin

        ca_file = os.environ.get(_CA_VARIABLE)
        if ca_file:
            for name in _CA_FIELDS:
                put(name, ca_file, _CA_VARIABLE)
        section = _context_named(context, _settings(path))
        if section is not None:
            for name, value, origin in _settings_of(section):
                put(name, value, origin)
        for name, variable in _VARIABLES.items():
            if os.environ.get(variable):
                put(name, os.environ[variable], variable)
        for name, argument in (("endpoint", endpoint), ("cache_endpoint", cache_endpoint)):
            if argument is not None:
                put(name, argument, f"the argument {name}")
        return cls(**_checked(values, origins), origins=origins)

    def origin(self, name: str) -> str:
        """Say where the value of a field came from, for people."""
        return self.origins.get(name, "the context given")


def _settings(path: str | os.PathLike[str] | None) -> Section | None:
    """Read the file of settings; one that is asked for by name must be there."""
    asked = os.fspath(path) if path is not None else os.environ.get("FLAME_CONFIG")
    file = Path(asked).expanduser() if asked else Path.home() / ".flame" / DEFAULT_FLAME_CONF
    if not file.exists():
        if not asked:
            return None
        origin = "the argument path" if path is not None else "FLAME_CONFIG"
        raise ClusterError(f"{file} (from {origin}) is not there", FlameErrorCode.INVALID_CONFIG)
    from .settings_file import read_settings  # YAML is read by those who have such a file

    return read_settings(file)


def _context_named(asked: str | None, settings: Section | None) -> Section | None:
    """Return the section of the context of a name; without, of the one that is current."""
    if settings is None:
        if asked is not None:
            raise ClusterError(
                f"there is no context {asked!r}: the file of settings is not there, or empty",
                FlameErrorCode.INVALID_CONFIG,
            )
        return None
    settings.check_keys("current-context", "contexts")
    contexts: dict[str, Section] = {}
    for section in settings.sections("contexts"):
        section.check_keys("name", "cluster", "cache", "package", "runner")
        name = section.text("name")
        if name is None:
            raise section.error(f"{section.path} has no name")
        contexts[name] = section
    known = "it has " + (", ".join(contexts) or "none")
    if asked is not None:
        if asked not in contexts:
            raise settings.error(f"there is no context {asked!r}; {known}")
        return contexts[asked]
    current = settings.text("current-context")
    if current is None:
        raise settings.error(f"current-context must name one of the contexts; {known}")
    if current not in contexts:
        raise settings.error_at("current-context", f"{current!r} is none of the contexts; {known}")
    return contexts[current]


def _settings_of(context: Section) -> list[tuple[str, Any, str]]:
    """List field, value and origin of all that a context sets."""
    found: list[tuple[str, Any, str]] = []
    for name, place in _PLACES.items():
        section: Section | None = context
        for key in place[:-1]:
            section = section.section(key) if section is not None else None
        if section is None:
            continue
        siblings = {other[len(place) - 1] for other in _PLACES.values() if _beside(other, place)}
        section.check_keys(*siblings)
        key = place[-1]
        value = section.texts(key) if name == "package_excludes" else section.text(key)
        if value is not None:
            found.append((name, value, section.where(key)))
    return found


def _beside(other: tuple[str, ...], place: tuple[str, ...]) -> bool:
    """Say whether a place is in the same section as another, or goes through it."""
    return len(other) >= len(place) and other[: len(place) - 1] == place[:-1]


def _checked(values: dict[str, Any], origins: Mapping[str, str]) -> dict[str, Any]:
    """Check the addresses, and write paths and addresses out in full."""
    checked = dict(values)
    for name, schemes, port in (
        ("endpoint", CLUSTER_SCHEMES, CLUSTER_PORT),
        ("cache_endpoint", CACHE_SCHEMES, CACHE_PORT),
    ):
        checked[name] = str(Endpoint.parse(values[name], origins[name], schemes, port))
    for name in (*_CA_FIELDS, "cache_storage"):
        if checked.get(name) is not None:
            checked[name] = os.path.expanduser(checked[name])
    return checked
