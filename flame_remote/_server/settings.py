"""What a session manager is told at its start."""

from __future__ import annotations

import argparse
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from .limits import Limits


class SettingsError(Exception):
    """Settings that do not go together; the text says what to do."""


@dataclass(frozen=True)
class Settings:
    """Settings of a session manager, and of the object cache that it starts.

    Args:
        data: folder of the database, the objects, logs and installed packages.
        host: address of both servers; anything but loopback needs token and TLS.
        port: of the session manager; 0 picks a free one.
        cache_port: of the object cache; 0 picks a free one.
        python: interpreter of instances.
        warm: whether workers are prepared before the first is needed.
        end_with: pid of a process; the cluster ends when it does.
        remove_data: whether `data` is removed if the cluster ends for that reason.
        ready_fd: where one JSON line is written when both servers serve, or cannot.
        token_file: file with the token that clients must send.
        tls_cert, tls_key: certificate chain and key of both servers, PEM.
        tls_ca: certificate of the authority, for instances that call back.
        limits: of the scheduler.
    """

    data: Path
    host: str
    port: int
    cache_port: int
    python: str
    warm: bool
    end_with: int | None
    remove_data: bool
    ready_fd: int | None
    token_file: Path | None
    tls_cert: Path | None
    tls_key: Path | None
    tls_ca: Path | None
    limits: Limits

    @property
    def secure(self) -> bool:
        """True if the servers use TLS."""
        return self.tls_cert is not None

    def check(self) -> None:
        """Raise SettingsError if others could do here what only the user may."""
        if (self.tls_cert is None) != (self.tls_key is None):
            raise SettingsError("--tls-cert and --tls-key go together: give both, or none")
        if is_loopback(self.host):
            return
        missing = [
            option
            for option, value in {
                "--token-file": self.token_file,
                "--tls-cert": self.tls_cert,
                "--tls-key": self.tls_key,
            }.items()
            if value is None
        ]
        if missing:
            raise SettingsError(
                f"--host {self.host} can be reached from other machines, and whoever reaches a "
                f"cluster can run code on it: {', '.join(missing)} must be given too "
                "(or leave the host at 127.0.0.1)"
            )

    def read_token(self) -> str:
        """Return the token, "" if there is none. Raises SettingsError."""
        if self.token_file is None:
            return ""
        try:
            token = self.token_file.read_text().strip()
        except OSError as error:
            raise SettingsError(f"--token-file {self.token_file}: {error.strerror}") from error
        if len(token) < 16:
            raise SettingsError(
                f"--token-file {self.token_file}: expected at least 16 characters in the first "
                f"line, got {len(token)}"
            )
        return token


def is_loopback(host: str) -> bool:
    """Say whether an address can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def parse(arguments: list[str]) -> Settings:
    """Return the settings of a command line. Exits with a message for a wrong one."""
    parser = argparse.ArgumentParser(prog="python -m flame_remote._server.session_manager")
    usual = Limits()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--cache-port", type=int, default=9090)
    parser.add_argument("--python", required=True)
    parser.add_argument("--warm", action="store_true")
    parser.add_argument("--end-with", type=int)
    parser.add_argument("--remove-data", action="store_true")
    parser.add_argument("--ready-fd", type=int)
    parser.add_argument("--token-file", type=Path)
    parser.add_argument("--tls-cert", type=Path)
    parser.add_argument("--tls-key", type=Path)
    parser.add_argument("--tls-ca", type=Path)
    parser.add_argument("--instances", type=int, default=usual.instances)
    parser.add_argument("--overcommit", type=int, default=usual.overcommit)
    parser.add_argument("--bind-attempts", type=int, default=usual.bind_attempts)
    given = parser.parse_args(arguments)
    limits = Limits(
        instances=given.instances,
        overcommit=max(given.overcommit, given.instances),
        bind_attempts=given.bind_attempts,
    )
    return Settings(
        *(given.data, given.host, given.port, given.cache_port, given.python, given.warm),
        given.end_with,
        given.remove_data,
        given.ready_fd,
        *(given.token_file, given.tls_cert, given.tls_key, given.tls_ca, limits),
    )
