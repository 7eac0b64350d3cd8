"""Where packages lie for workers to fetch: a folder, a web server, or the object cache."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import quote, unquote, urlsplit

from flame_remote.exceptions import ClusterError, ClusterTimeoutError, FlameErrorCode

if TYPE_CHECKING:
    from flame_remote.core.context import FlameContext

TRANSFER_SECONDS: Final = 300.0  # one package, up
SHORT_SECONDS: Final = 60.0  # everything else
_SCHEMES: Final = ("file", "grpc", "grpcs", "http", "https")
_ORIGIN: Final = "package_storage"  # the field of the context


class Storage(Protocol):
    """Keeps packages by name. An upload that fails leaves nothing behind.

    Every method blocks, for minutes at most, and raises ClusterError.
    """

    def upload(self, file: Path, name: str) -> str:
        """Store a file under a name, unless it is there already; return its URL for workers."""
        ...

    def delete(self, name: str) -> None:
        """Remove a stored file; it is no error if there is none."""
        ...


def storage_of(context: FlameContext, application: str) -> Storage:
    """Return the storage that a context names: `package.storage`, else the object cache.

    Raises:
        ClusterError: INVALID_CONFIG; the storage has an unknown scheme, or its folder is not there.
    """
    url = context.package_storage
    origin = context.origin(_ORIGIN)
    if url is None:
        return CacheStorage(context, application)
    scheme = urlsplit(url).scheme
    if scheme == "file":
        return FileStorage(url, origin)
    if scheme in ("http", "https"):
        return HttpStorage(url, origin)
    if scheme in ("grpc", "grpcs"):
        return CacheStorage(replace(context, cache_endpoint=url), application)
    hint = f"; a folder is written file://{os.path.abspath(url)}" if not scheme else ""
    raise _misconfigured(
        f"packages cannot be stored at {url!r} (from {origin}): "
        + (f"its scheme {scheme!r} is none of " if scheme else "it does not begin with one of ")
        + ", ".join(f"{known}://" for known in _SCHEMES)
        + hint
    )


# --- a folder -------------------------------------------------------------------------------------


class FileStorage:
    """A folder that this machine and all workers see under the same path."""

    def __init__(self, url: str, origin: str) -> None:
        """Raises ClusterError if the folder is not there."""
        parts = urlsplit(url)
        # file://dir/sub names a host by the rules; who writes it means a relative path.
        self._folder = Path(unquote(parts.netloc + parts.path)).expanduser().absolute()
        if not self._folder.is_dir():
            raise _misconfigured(
                f"storage directory does not exist: {self._folder} (from {origin}); create it, on "
                "this machine and on every worker, or choose another storage"
            )

    def upload(self, file: Path, name: str) -> str:
        place = self._folder / name
        try:
            if not place.exists():  # the name has the hash of the contents in it
                self._copy(file, place)
        except OSError as error:
            raise _failed(f"upload the package to {place}", error) from error
        return f"file://{quote(str(place))}"

    def delete(self, name: str) -> None:
        try:
            (self._folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise _failed(f"delete the package {self._folder / name}", error) from error

    def _copy(self, file: Path, place: Path) -> None:
        handle, temporary = tempfile.mkstemp(dir=self._folder, prefix=f".{place.name}.")
        try:
            with open(handle, "wb") as target, open(file, "rb") as source:
                shutil.copyfileobj(source, target)
            os.chmod(temporary, 0o644)
            os.replace(temporary, place)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise


# --- a web server ---------------------------------------------------------------------------------


class HttpStorage:
    """A web server that takes PUT and DELETE; workers fetch with GET."""

    _UPLOADED: Final = (200, 201, 204)
    _DELETED: Final = (200, 202, 204, 404, 410)

    def __init__(self, url: str, origin: str) -> None:
        parts = urlsplit(url)
        if not parts.hostname or parts.query or parts.fragment:
            raise _misconfigured(
                f"the storage {url!r} (from {origin}) must be like https://host/folder, without "
                "'?' and '#'"
            )
        self._base = url.rstrip("/")

    def upload(self, file: Path, name: str) -> str:
        url = self._url_of(name)
        doing = f"upload the package to {url}"
        size = str(file.stat().st_size)
        status, length = self._request("HEAD", url, f"look for the package {url}", SHORT_SECONDS)
        if status == 200 and length == size:
            return url  # the name has the hash of the contents in it
        headers = {"Content-Length": size, "Content-Type": "application/gzip"}
        try:
            with open(file, "rb") as body:
                status, _ = self._request("PUT", url, doing, TRANSFER_SECONDS, body, headers)
            if status not in self._UPLOADED:
                raise _refused(doing, status)
        except BaseException:
            with suppress(ClusterError):  # half of it may be there
                self.delete(name)
            raise
        return url

    def delete(self, name: str) -> None:
        url = self._url_of(name)
        doing = f"delete the package {url}"
        status, _ = self._request("DELETE", url, doing, SHORT_SECONDS)
        if status not in self._DELETED:
            raise _refused(doing, status)

    def _url_of(self, name: str) -> str:
        return f"{self._base}/{quote(name)}"

    def _request(
        self,
        method: str,
        url: str,
        doing: str,
        seconds: float,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, str | None]:
        """Return status and length of the answer; raise if there is none."""
        import http.client
        import urllib.error
        import urllib.request

        request = urllib.request.Request(url, body, dict(headers or {}), method=method)  # type: ignore[arg-type]
        try:
            with urllib.request.urlopen(request, timeout=seconds) as answer:
                return int(answer.status), answer.headers.get("Content-Length")
        except urllib.error.HTTPError as error:
            with error:  # an answer, if not a good one
                return error.code, None
        except TimeoutError as error:
            raise ClusterTimeoutError(f"cannot {doing}: no answer within {seconds:g} s") from error
        except (OSError, http.client.HTTPException) as error:
            raise _failed(doing, error) from error


# --- the object cache -----------------------------------------------------------------------------


class CacheStorage:
    """The cluster's object cache; the key of a package is `APPLICATION/pkg/NAME`."""

    def __init__(self, context: FlameContext, application: str) -> None:
        self._context = context
        self._application = application

    def upload(self, file: Path, name: str) -> str:
        from flame_remote.core.objects import upload_object

        key = self._key_of(name)
        try:
            ref = upload_object(key, file, timeout=TRANSFER_SECONDS, context=self._context)
        except BaseException:
            with suppress(ClusterError):
                self.delete(name)
            raise
        # That of the replica which has it, not that of whoever shares out the requests.
        return f"{ref.endpoint.replace('grpc+tls://', 'grpcs://').rstrip('/')}/{key}"

    def delete(self, name: str) -> None:
        from flame_remote.core.objects import delete_objects

        delete_objects(self._key_of(name), timeout=SHORT_SECONDS, context=self._context)

    def _key_of(self, name: str) -> str:
        return f"{self._application}/pkg/{name}"


# --- errors ---------------------------------------------------------------------------------------


def _misconfigured(text: str) -> ClusterError:
    return ClusterError(text, FlameErrorCode.INVALID_CONFIG)


def _failed(doing: str, error: Exception) -> ClusterError:
    reason = getattr(error, "reason", None) or error  # that of a URLError is the error beneath
    text = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
    return ClusterError(f"cannot {doing}: {text[:1].lower() + text[1:]}")


def _refused(doing: str, status: int) -> ClusterError:
    from http import HTTPStatus

    try:
        phrase = f" {HTTPStatus(status).phrase}"
    except ValueError:
        phrase = ""
    return ClusterError(f"cannot {doing}: the server answered {status}{phrase}")
