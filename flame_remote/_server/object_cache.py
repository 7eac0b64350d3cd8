"""The process of the object cache: `python -m flame_remote._server.object_cache --help`."""

from __future__ import annotations

import argparse
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from . import cache_access

_HALF: Final = 2
_SHUTDOWN_SECONDS: Final = 0.5
_REFUSED: Final = 2  # exit status, as for wrong options


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT, or until the parent process ends if it gave a --ready-fd.

    Returns:
        The exit status: 0, or 2 with a sentence on standard error if it cannot start like this.
    """
    options = _options(arguments)
    reason = cache_access.objection(
        options.host, options.token_file, options.tls_cert, options.tls_key
    )
    if reason is None and _is_wildcard(options.host) and options.advertise_host is None:
        reason = f"--host {options.host} is no address for clients: say one with --advertise-host"
    if reason is not None:
        return _refuse(reason)
    # Before the port is told: a signal or the parent's end must not fall into a gap.
    end = _End(os.getppid() if options.ready_fd is not None else None)
    try:
        service = _start(options)
    except (OSError, ValueError) as error:
        return _refuse(str(error))
    # What a client is told of an error is a sentence, not where our files are.
    sys.tracebacklimit = 0
    if options.ready_fd is None or _tell(options.ready_fd, service.port):
        end.wait()
    _shut_down(service)
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m flame_remote._server.object_cache",
        description="Keep objects for the clients of a Flame cluster, over Arrow Flight.",
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen at (default: %(default)s)")
    add("--port", type=int, default=9090, help="0 for a free one (default: %(default)s)")
    add("--advertise-host", metavar="HOST", help="host in refs (default: --host)")
    add("--ready-fd", type=int, metavar="N", help="descriptor that the port is written to")
    add("--storage", default="none", metavar="DIR", help="folder for objects (default: none)")
    add("--max-memory", type=int, metavar="BYTES", help="default: half of this machine's")
    add("--max-objects", type=int, metavar="N", help="in memory (default: no limit)")
    add("--evict", choices=["lru", "none"], default="lru", help="(default: %(default)s)")
    add("--tls-cert", metavar="FILE", help="PEM certificate chain")
    add("--tls-key", metavar="FILE", help="PEM private key")
    add("--token-file", metavar="FILE", help="file with the token that clients must send")
    return parser.parse_args(arguments)


def _start(options: argparse.Namespace) -> Any:
    """Return the service, which listens. Raises OSError or ValueError."""
    from .cache_disk import CacheDisk
    from .cache_service import CacheService
    from .cache_store import CacheLimits, CacheStore

    memory = options.max_memory
    if memory is None:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // _HALF
    limits = CacheLimits(memory, options.max_objects, options.evict == "lru")
    disk = None if options.storage == "none" else CacheDisk(options.storage)
    scheme = "grpc"
    more: dict[str, Any] = {}
    if options.tls_cert is not None:
        scheme = "grpc+tls"
        certificate, key = Path(options.tls_cert).read_bytes(), Path(options.tls_key).read_bytes()
        more["tls_certificates"] = [(certificate, key)]
    if options.token_file is not None:
        token = Path(options.token_file).read_text(encoding="utf-8").strip()
        if not token:
            raise ValueError(f"the token file {options.token_file} is empty")
        more["middleware"] = {"token": cache_access.TokenCheck(token)}
    shown = f"[{options.host}]" if ":" in options.host else options.host
    _require_free(options.host, options.port)
    try:
        return CacheService(
            CacheStore(limits, disk),
            f"{scheme}://{shown}:{options.port}",
            most_bytes=memory if disk is None else None,
            advertised_host=options.advertise_host,
            same_user=options.token_file is None,
            **more,
        )
    except Exception as error:  # Arrow's own kinds: the port is taken, a certificate is none
        raise OSError(
            f"the object cache cannot listen at {shown}:{options.port}: {error}"
        ) from error


def _require_free(host: str, port: int) -> None:
    """Raise OSError if somebody listens there: gRPC would share the port, and clients see both."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as gRPC will
            probe.bind(address)
    except OSError as error:
        raise OSError(
            f"the object cache cannot listen at {host}:{port}: {error.strerror}"
        ) from error


class _End:
    """What ends the process: SIGTERM, SIGINT, or the end of the parent."""

    def __init__(self, parent_pid: int | None) -> None:
        """Begin to watch; None for no parent to be watched."""
        self._parent = None if parent_pid is None else os.pidfd_open(parent_pid)
        self._signals, self._wakeup = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(self._wakeup)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)  # the wake-up is what counts

    def wait(self) -> None:
        """Block until it has come."""
        watched = [self._signals] + ([] if self._parent is None else [self._parent])
        select.select(watched, [], [])


def _tell(ready_fd: int, port: int) -> bool:
    """Write the port to whoever started us; False if nobody is there any more."""
    try:
        with os.fdopen(ready_fd, "w") as ready:
            ready.write(f"{port}\n")
    except BrokenPipeError:
        return False
    return True


def _shut_down(service: Any) -> None:
    """Let calls that are under way end, unless they take too long; files are whole at any time."""
    ending = threading.Thread(target=service.shutdown, daemon=True)
    ending.start()
    ending.join(_SHUTDOWN_SECONDS)
    if ending.is_alive():
        os._exit(0)


def _is_wildcard(host: str) -> bool:
    return host in ("0.0.0.0", "::", "")


def _refuse(reason: str) -> int:
    print(f"object cache: {reason}", file=sys.stderr)
    return _REFUSED


if __name__ == "__main__":
    sys.exit(main())
