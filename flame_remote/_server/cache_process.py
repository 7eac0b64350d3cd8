"""The object cache as a process beside the session manager."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from flame_remote.exceptions import FlameError

from .processes import PACKAGE_PARENT, describe_status
from .settings import Settings

log = logging.getLogger(__name__)

_START_SECONDS: Final = 60.0
_DELETE_SECONDS: Final = 30.0
_WILDCARDS: Final = ("0.0.0.0", "::", "")


class CacheProcess:
    """The object cache: started, started again if it ends, ended. Belongs to the loop's thread."""

    def __init__(self, settings: Settings, on_broken: Callable[[BaseException], None]) -> None:
        """`on_broken` is called if it has ended and cannot be started again."""
        self._settings = settings
        self._on_broken = on_broken
        self._process: subprocess.Popen[bytes] | None = None
        self._pidfd = -1
        self._ready_fd = -1
        self._background: set[asyncio.Future[None]] = set()
        self._closing = False
        self.endpoint = ""

    def start(self) -> None:
        """Start the process; returns before it serves. Raises OSError."""
        logs = self._settings.data / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        code = (
            f"import sys; sys.path.insert(0, {PACKAGE_PARENT!r}); "
            "from flame_remote._server.object_cache import main; sys.exit(main(sys.argv[1:]))"
        )
        self._ready_fd, theirs = os.pipe()
        try:
            with open(logs / "object-cache.log", "ab") as log_file:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", code, *self._arguments(theirs)],
                    pass_fds=[theirs],
                    stdin=subprocess.DEVNULL,
                    stdout=log_file,
                    stderr=log_file,
                    start_new_session=True,
                )
        finally:
            os.close(theirs)
        self._pidfd = os.pidfd_open(self._process.pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._ended)

    def _arguments(self, ready_fd: int) -> list[str]:
        settings = self._settings
        options = {
            "--host": settings.host,
            "--port": settings.cache_port,
            "--ready-fd": ready_fd,
            "--storage": settings.data / "objects",
            "--advertise-host": self._host() if settings.host in _WILDCARDS else None,
            "--token-file": settings.token_file,
            "--tls-cert": settings.tls_cert,
            "--tls-key": settings.tls_key,
        }
        given = {option: str(value) for option, value in options.items() if value is not None}
        return [word for pair in given.items() for word in pair]

    def _host(self) -> str:
        host = self._settings.host
        return socket.gethostname() if host in _WILDCARDS else host

    async def ready(self) -> str:
        """Wait until it serves; return its URL. Raises RuntimeError."""
        descriptor, self._ready_fd = self._ready_fd, -1
        loop = asyncio.get_running_loop()
        told = loop.run_in_executor(None, _read_line, descriptor)
        try:
            port = await asyncio.wait_for(told, _START_SECONDS)
        except asyncio.TimeoutError:
            port = b""
        if not port.strip().isdigit():
            path = self._settings.data / "logs" / "object-cache.log"
            lines = path.read_text("utf8", "replace").strip().splitlines()
            raise RuntimeError(lines[-1] if lines else f"the object cache does not start: {path}")
        # If it must be started again, then on the same port: the refs that exist name it.
        self._settings = replace(self._settings, cache_port=int(port))
        scheme = "grpcs" if self._settings.secure else "grpc"
        host = self._host()
        self.endpoint = f"{scheme}://{f'[{host}]' if ':' in host else host}:{int(port)}"
        return self.endpoint

    def drop_objects(self, application: str) -> None:
        """Delete all objects of an application, some time soon."""
        if self.endpoint:
            loop = asyncio.get_running_loop()
            self._keep(loop.run_in_executor(None, self._delete, f"{application}/*"))

    def _delete(self, prefix: str) -> None:
        """Delete in a thread."""
        from flame_remote.core.cache_address import CacheAddress
        from flame_remote.core.cache_client import CacheClient
        from flame_remote.core.flight import connection_to

        settings = self._settings
        address = CacheAddress(
            self.endpoint,
            None if settings.tls_ca is None else str(settings.tls_ca),
            settings.read_token() or None,
            "the cluster itself",
        )
        try:
            client = CacheClient(connection_to(address))
            client.act("DELETE", prefix, f"delete the objects {prefix}", _DELETE_SECONDS)
        except FlameError as error:
            log.warning("%s", error)

    # --- its end ------------------------------------------------------------------------

    def _ended(self) -> None:
        assert self._process is not None
        status = self._process.wait()  # it has ended
        self._unwatch()
        if self._closing or not self.endpoint:
            return
        how = describe_status(status << 8 if status >= 0 else -status)
        log.error("the object cache %s; it is started again", how)
        self._keep(asyncio.ensure_future(self._start_again()))

    async def _start_again(self) -> None:
        try:
            self.start()
            await self.ready()
        except (OSError, RuntimeError) as error:
            self._on_broken(error)

    def _keep(self, future: asyncio.Future[None]) -> None:
        self._background.add(future)
        future.add_done_callback(self._background.discard)

    def _unwatch(self) -> None:
        if self._pidfd >= 0:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1

    async def close(self) -> None:
        """End the process and wait until it has ended."""
        self._closing = True
        if self._ready_fd >= 0:
            os.close(self._ready_fd)
        if self._process is not None:
            self._process.terminate()
            await asyncio.get_running_loop().run_in_executor(None, self._process.wait)
        self._unwatch()
        await asyncio.gather(*self._background, return_exceptions=True)


def _read_line(descriptor: int) -> bytes:
    with open(descriptor, "rb") as file:
        return file.readline()
