"""Everything in the session manager's process, put together."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import grpc

from flame_remote._proto import types_pb2

from . import events as ev
from .access import Access
from .cache_process import CacheProcess
from .defaults import default_applications
from .download import download
from .environment import Surroundings
from .executors import Executors
from .frontend import Frontend
from .home import make_home
from .installing import PackageInstaller
from .launching import Launcher
from .logs import InstanceLogs
from .manager import Manager
from .nodes import Node
from .owners import OwnerWatch, is_alive, owner_in
from .processes import SpawnerHandle, SpawnerKind
from .rpc import handlers
from .scheduler import Scheduler
from .settings import Settings
from .sockets import SocketFolder
from .store import Store, StoreError
from .workshop import Patience, Workshop

log = logging.getLogger(__name__)

_MESSAGE_BYTES: Final = 256 << 20  # a client with the usual limits sends and takes 4 MiB
_SERVER_OPTIONS: Final = (
    ("grpc.so_reuseport", 0),  # a port that is in use is an error, not a second server
    ("grpc.max_receive_message_length", _MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MESSAGE_BYTES),
    ("grpc.max_metadata_size", 64 << 10),
)


class ClusterProcess:
    """Session manager, executors, and the handle of the object cache. Belongs to one loop."""

    def __init__(self, settings: Settings, on_broken: Callable[[BaseException], None]) -> None:
        self._settings = settings
        self._on_broken = on_broken
        self._server: grpc.aio.Server | None = None
        self._cache = CacheProcess(settings, on_broken)
        self._spawner: SpawnerHandle | None = None
        self._sockets: SocketFolder | None = None
        self._store: Store | None = None
        self._manager: Manager | None = None
        self._executors: Executors | None = None
        self._launcher: Launcher | None = None
        self._owners = OwnerWatch(self._owner_gone)
        self._port = 0
        self._token: str | None = None

    async def start(self) -> None:
        """Start everything; when it returns, both servers serve. Raises OSError, RuntimeError."""
        settings = self._settings
        self._token = settings.read_token() or None
        settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self._store = Store(settings.data / "sessions.sqlite")
        except StoreError as error:
            raise RuntimeError(str(error)) from error
        self._server = self._bind()
        self._cache.start()  # the slowest, so before what else there is to do
        self._sockets = SocketFolder()
        spawner = self._spawner = SpawnerHandle(SpawnerKind(removes=(self._sockets.path,)))
        spawner.open()
        version = make_home(settings.data / "home", settings.python)
        cache_endpoint = await self._cache.ready()

        node = Node()
        # Names of instances must differ from those of an earlier run: their logs are still there.
        prefix = f"{int(time.time()):x}-"
        scheduler = Scheduler(settings.limits, node.name, prefix)
        self._manager = manager = Manager(
            scheduler, self._store, self._owners, self._cache.drop_objects, self._on_broken
        )
        self._launcher = launcher = Launcher(
            spawner,
            settings.data / "home" / "bin" / "uv",
            settings.python,
            version,
            settings.data / "logs" / "zygote.log",
        )
        if settings.warm:
            launcher.warm_up()
        workshop = Workshop(
            launcher=launcher,
            sockets=self._sockets,
            installer=PackageInstaller(
                settings.data / "home", settings.python, version, spawner, self._fetch
            ),
            surroundings=self._surroundings(cache_endpoint),
            patience=Patience(),
            tell=manager.tell,
        )
        manager.executors = self._executors = Executors(workshop)
        manager.restore()
        for name, spec in default_applications().items():
            if name not in manager.tables.applications:
                manager.tell(ev.RegisterApplication(name, spec))
        frontend = Frontend(manager, node, self._owner_of)
        access = Access(self._token, self._port)
        self._server.add_generic_rpc_handlers((handlers(frontend, access),))
        await self._server.start()

    def _bind(self) -> grpc.aio.Server:
        settings = self._settings
        server = grpc.aio.server(options=_SERVER_OPTIONS)
        address = f"{settings.host}:{settings.port}"
        try:
            if settings.tls_cert is None or settings.tls_key is None:
                self._port = server.add_insecure_port(address)
            else:
                pair = (settings.tls_key.read_bytes(), settings.tls_cert.read_bytes())
                credentials = grpc.ssl_server_credentials([pair])
                self._port = server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise RuntimeError(
                f"cannot listen on {address}; is another cluster running? ({error})"
            ) from error
        return server

    def _surroundings(self, cache_endpoint: str) -> Surroundings:
        settings = self._settings
        told = {
            "FLAME_ENDPOINT": self.endpoint,
            "FLAME_CACHE_ENDPOINT": cache_endpoint,
            "RUST_LOG": os.environ.get("RUST_LOG", "info"),
            "FLAME_LOG": os.environ.get("RUST_LOG", "info"),
            # Tells our workers that they need no guard, see _flame/guard.py.
            "FLAME_REPLACES_DEAD_WORKERS": "1",
        }
        if self._token is not None:
            told["FLAME_TOKEN"] = self._token
        if settings.tls_ca is not None:
            told["FLAME_CA_FILE"] = str(settings.tls_ca)
        # As uv has it: `python3` in an instance is the interpreter of the cluster.
        path = [os.path.dirname(settings.python), os.environ.get("PATH", os.defpath)]
        inherited = {
            **os.environ,
            "PATH": os.pathsep.join(part for part in path if part),
            "FLAME_HOME": str(settings.data / "home"),
        }
        return Surroundings(
            inherited=inherited,
            told=told,
            work=settings.data / "work",
            logs=InstanceLogs(settings.data / "logs" / "instances"),
        )

    def _fetch(self, url: str, path: Path) -> None:
        """Download a package; called in a thread."""
        ca_file = self._settings.tls_ca
        download(url, path, token=self._token, ca_file=None if ca_file is None else str(ca_file))

    def _owner_of(self, spec: types_pb2.ApplicationSpec) -> str:
        """Return the process that an application wants to end with, if it can be watched here."""
        owner = owner_in(list(spec.labels))
        pid, _, started = owner.partition(":")
        # A pid of another machine or container means nothing here.
        return owner if pid.isdigit() and is_alive(int(pid), started) else ""

    def _owner_gone(self, application: str, owner: str) -> None:
        log.info("the owner of application %s, process %s, has ended", application, owner)
        if self._manager is not None:
            self._manager.tell(ev.OwnerGone(application, owner))

    @property
    def endpoint(self) -> str:
        """The URL of the session manager."""
        scheme = "https" if self._settings.secure else "http"
        return f"{scheme}://{self._settings.host}:{self._port}"

    def told(self) -> dict[str, object]:
        """Return what is told when everything serves."""
        return {
            "endpoint": self.endpoint,
            "cache_endpoint": self._cache.endpoint,
            "pid": os.getpid(),
        }

    async def close(self) -> None:
        """End everything; what is committed stays."""
        if self._server is not None:
            await self._server.stop(grace=0.5)
        if self._executors is not None:
            await self._executors.close()
        if self._spawner is not None:
            await self._spawner.close()
        if self._launcher is not None:
            await self._launcher.close()
        self._owners.close()
        if self._manager is not None:
            self._manager.close()
        if self._store is not None:
            self._store.close()
        if self._sockets is not None:
            self._sockets.close()
        await self._cache.close()
