"""Fetches packages from where applications say that they are."""

from __future__ import annotations

import shutil
import urllib.error
import urllib.request
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from flame_remote.exceptions import FlameError

DOWNLOAD_SECONDS: Final = 300.0
SCHEMES: Final = ("file://", "http://", "https://", "grpc://", "grpcs://")


class DownloadError(Exception):
    """A package could not be fetched; the text says why, without the URL."""


def download(url: str, path: Path, *, token: str | None = None, ca_file: str | None = None) -> None:
    """Fetch a URL into a file. Blocks, for DOWNLOAD_SECONDS at most for each pause of the sender.

    Args:
        url: file://, http(s):// or, for an object in a cache, grpc(s)://host:port/key.
        path: where to put it.
        token: for a cache.
        ca_file: for a cache.

    Raises:
        DownloadError: there is nothing, or it cannot be read.
        OSError: `path` cannot be written.
    """
    scheme = urlsplit(url).scheme
    if scheme == "file":
        _copy_file(url, path)
    elif scheme in ("http", "https"):
        _get_http(url, path)
    elif scheme in ("grpc", "grpcs", "grpc+tls"):
        _get_object(url, path, token, ca_file)
    else:
        raise DownloadError(f"unknown kind of address; known are {', '.join(SCHEMES)}")


def _copy_file(url: str, path: Path) -> None:
    source = Path(unquote(urlsplit(url).path))
    try:
        with open(source, "rb") as file, open(path, "wb") as copy:
            shutil.copyfileobj(file, copy)
    except OSError as error:
        if error.filename == str(path):
            raise
        raise DownloadError(f"{source}: {error.strerror}") from error


def _get_http(url: str, path: Path) -> None:
    try:
        with (
            urllib.request.urlopen(url, timeout=DOWNLOAD_SECONDS) as response,
            open(path, "wb") as file,
        ):
            shutil.copyfileobj(response, file)
            expected = response.headers.get("Content-Length")
            if expected is not None and file.tell() != int(expected):
                raise DownloadError(
                    f"the download broke off: {file.tell()} bytes of {expected} came"
                )
    except urllib.error.HTTPError as error:
        raise DownloadError(f"the server answered {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise DownloadError(str(error.reason)) from error
    except (TimeoutError, ConnectionError) as error:
        raise DownloadError(f"the download broke off: {error}") from error


def _get_object(url: str, path: Path, token: str | None, ca_file: str | None) -> None:
    from flame_remote.core.cache_address import CacheAddress
    from flame_remote.core.cache_client import CacheClient
    from flame_remote.core.flight import connection_to

    parts = urlsplit(url)
    scheme = "grpc" if parts.scheme == "grpc" else "grpcs"
    address = CacheAddress(
        f"{scheme}://{parts.netloc}", origin="the application's url", ca_file=ca_file, token=token
    )
    try:
        answer = CacheClient(connection_to(address)).fetch(
            unquote(parts.path.lstrip("/")), 0, DOWNLOAD_SECONDS
        )
    except FlameError as error:
        raise DownloadError(str(error)) from error
    base = answer.fetched.base if answer.fetched is not None else None
    if base is None or not hasattr(base, "to_pybytes"):
        raise DownloadError("the object there is no file")
    with open(path, "wb") as file:
        file.write(memoryview(base))
