"""`flame-remote logs`: what the local cluster and its instances have written."""

from __future__ import annotations

from pathlib import Path

from flame_remote._server import cluster

from .ending import NotRunning, UserError
from .log_files import follow as follow_files
from .log_files import show_end
from .settings import Settings
from .tables import table


def list_logs(settings: Settings, name: str | None) -> None:
    """Show names, sizes and paths. Raises UserError for a name that no log has."""
    found = _chosen(name)
    settings.show(
        [{"name": n, "path": str(p), "bytes": p.stat().st_size} for n, p in found.items()],
        lambda: table(
            ("Name", "Bytes", "Path"),
            [(n, str(p.stat().st_size), str(p)) for n, p in found.items()],
        ),
    )


def show_logs(name: str | None, lines: int | None, *, follow: bool) -> None:
    """Write logs to standard output.

    Args:
        name: of a log, or what the names of some begin with; None for all.
        lines: how many of each, from the end; None for all.
        follow: go on with what is written from now on, until the cluster ends. Blocks so long.

    Raises:
        UserError: no log has such a name.
        NotRunning: no cluster has ever logged anything.
    """
    found = _chosen(name)
    positions = show_end(found, lines)
    if follow:
        follow_files(lambda: _chosen(name), positions, lambda: cluster.status() is not None)


def _chosen(name: str | None) -> dict[str, Path]:
    """Return logs by name: "session-manager", and file names such as "ID.out" of instances."""
    found = {
        path.stem if path.suffix == ".log" else path.name: path for path in cluster.log_paths()
    }
    if not found:
        raise NotRunning("there are no logs; `flame-remote up` starts a cluster")
    if name is None:
        return found
    if name in found:
        return {name: found[name]}
    chosen = {key: path for key, path in found.items() if key.startswith(name)}
    if not chosen:
        raise UserError(f"there is no log {name!r}; there are {', '.join(found)}")
    return chosen
