"""The object cache as Arrow Flight shows it: requests in, store calls, answers out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import bson
import pyarrow as pa
from bson.int64 import Int64
from pyarrow import flight

from flame_remote.core.object_key import ObjectKey

from .cache_content import read_content
from .cache_store import CacheFullError, CacheStore
from .peers import Peers, user_name

_PATCH: Final = b"PATCH:"
_ACTIONS: Final = {
    "DELETE": "delete the object with this key, or all under a prefix or '<application>/*'",
    "DELETE_MANY": "delete the objects with these keys, one per line",
    "COUNT": "count the objects under a prefix, all if it is empty: BSON of keys and bytes",
}


class CacheService(flight.FlightServerBase):  # type: ignore[misc]
    """Answers from its first moment until `shutdown`, in threads of Flight's own.

    What is stored is never unpickled: to the cache, objects are bytes or Arrow tables. An exception
    that leaves a method is an answer: KeyError says NOT_FOUND, pa.ArrowInvalid INVALID_ARGUMENT.
    """

    def __init__(
        self,
        store: CacheStore,
        location: str,
        *,
        most_bytes: int | None = None,
        advertised_host: str | None = None,
        same_user: bool = False,
        **options: Any,
    ) -> None:
        """Listen.

        Args:
            store: the objects.
            location: grpc://host:port, or grpc+tls://; port 0 is one that is free.
            most_bytes: that an object may have; None for no limit of our own.
            advertised_host: what refs say instead of the host of `location`.
            same_user: whether processes of other users of this machine are refused.
            options: of FlightServerBase: certificates and middleware.

        Raises:
            OSError: it cannot listen there.
        """
        super().__init__(location, **options)
        self._store = store
        self._most_bytes = most_bytes
        address, _, _ = location.rpartition(":")
        if advertised_host is not None:
            address = f"{address.partition('://')[0]}://{advertised_host}"
        self.endpoint: Final = f"{address}:{self.port}"
        self._peers: Final = Peers(self.port) if same_user else None

    def _admit(self, context: Any) -> None:
        """Refuse the caller if he may not call. Flight tells who calls to methods only."""
        if self._peers is not None and not self._peers.are_ours(context.peer()):
            raise flight.FlightUnauthorizedError(
                f"this object cache belongs to {user_name()}, and takes calls of that user only; "
                "start a cluster of your own with `flame-remote up`"
            )

    # --- objects ---

    def do_put(self, context: Any, descriptor: Any, reader: Any, writer: Any) -> None:
        """Store an object, or append a patch; answer with its ref."""
        self._admit(context)
        patches = descriptor.command is not None
        if patches and not descriptor.command.startswith(_PATCH):
            raise pa.ArrowInvalid(
                "the command of a put is 'PATCH:<application>/<session>/<object>'"
            )
        place = _parsed(
            ObjectKey.parse_object if patches else ObjectKey.parse_place,
            descriptor.command[len(_PATCH) :] if patches else _path_of(descriptor),
        )
        batches = (chunk.data for chunk in reader if chunk.data is not None)
        content = read_content(reader.schema, batches, self._most_bytes)
        if context.is_cancelled():
            # The stream of a client that was killed ends like any other.
            raise flight.FlightCancelledError("the client has gone")
        try:
            if patches:
                if content.data is None:
                    raise pa.ArrowInvalid("a patch is rows of bytes, not an Arrow table")
                key, version = place, self._store.append(place, content.data)
            elif place.object_id is None:
                key, version = self._store.put_new(place, content), 1
            else:
                key, version = place, self._store.replace(place, content)
        except ValueError as error:
            raise pa.ArrowInvalid(f"object {place} cannot be patched: {error}") from None
        except (CacheFullError, OSError) as error:
            raise flight.FlightServerError(f"object {place} cannot be stored: {error}") from None
        ref = {"endpoint": self.endpoint, "key": str(key), "version": Int64(version)}
        writer.write(pa.py_buffer(bson.encode(ref)))

    def do_get(self, context: Any, ticket: Any) -> Any:
        """Send an object, or what is newer than the version that the client has."""
        self._admit(context)
        text, colon, version = ticket.ticket.rpartition(b":")
        if not colon:
            text, version = ticket.ticket, b"0"
        if not version.isdigit() or len(version) > 19:
            raise pa.ArrowInvalid("a ticket is '<application>/<session>/<object>:<version>'")
        found = self._read(_parsed(ObjectKey.parse_object, text))
        return flight.RecordBatchStream(found.answer_to(int(version)))

    # --- actions ---

    def do_action(self, context: Any, action: Any) -> list[bytes]:
        """Delete or count."""
        self._admit(context)
        body = b"" if action.body is None else action.body.to_pybytes()
        if action.type == "DELETE":
            patterns = [_parsed(ObjectKey.parse, body)]
        elif action.type == "DELETE_MANY":
            patterns = [_parsed(ObjectKey.parse_object, line) for line in body.splitlines()]
        elif action.type == "COUNT":
            return [self._count(_parsed(ObjectKey.parse, body) if body else None)]
        else:
            raise pa.ArrowInvalid(
                f"there is no action {action.type!r:.50}, only {', '.join(_ACTIONS)}"
            )
        try:
            for pattern in patterns:
                self._store.delete(pattern)
        except OSError as error:
            raise flight.FlightServerError(f"objects cannot be deleted: {error}") from None
        return [b"OK"]

    def _count(self, pattern: ObjectKey | None) -> bytes:
        keys, size = self._store.count(pattern)
        return bson.encode({"keys": Int64(keys), "bytes": Int64(size)})

    def list_actions(self, context: Any) -> list[tuple[str, str]]:
        """Say which actions there are; stock clients ask to see whether the cache lives."""
        self._admit(context)
        return list(_ACTIONS.items())

    # --- looking around ---

    def list_flights(self, context: Any, criteria: bytes) -> Iterator[Any]:
        """Yield what is known of each object without reading it."""
        self._admit(context)
        for key, size in self._store.listing():
            yield self._info(key, None, -1, size)

    def get_flight_info(self, context: Any, descriptor: Any) -> Any:
        """Say where an object is and how large; its schema if it is an Arrow table."""
        self._admit(context)
        key = _parsed(ObjectKey.parse_object, _path_of(descriptor))
        found = self._read(key)
        rows = sum(batch.num_rows for batch in found.base)
        return self._info(key, found.schema if found.is_table else None, rows, found.size)

    def get_schema(self, context: Any, descriptor: Any) -> Any:
        """Return the schema in which an object is sent."""
        self._admit(context)
        key = _parsed(ObjectKey.parse_object, _path_of(descriptor))
        return flight.SchemaResult(self._read(key).schema)

    def _info(self, key: ObjectKey, schema: pa.Schema | None, rows: int, size: int) -> Any:
        path = str(key)
        return flight.FlightInfo(
            pa.schema([]) if schema is None else schema,
            flight.FlightDescriptor.for_path(*path.split("/")),
            [flight.FlightEndpoint(path.encode(), [self.endpoint])],
            rows,
            size,
        )

    def _read(self, key: ObjectKey) -> Any:
        try:
            return self._store.read(key)
        except KeyError:
            raise KeyError(f"object {key} not found") from None
        except OSError as error:
            raise flight.FlightServerError(f"object {key} cannot be read: {error}") from None


def _path_of(descriptor: Any) -> bytes:
    """Return the path of a descriptor, whose elements may be parts of the key."""
    if not descriptor.path:
        raise pa.ArrowInvalid("the descriptor has no path; it names the object or its prefix")
    return b"/".join(descriptor.path)


def _parsed(parse: Callable[[str], ObjectKey], text: bytes) -> ObjectKey:
    """Return the key that a client has sent. Raises pa.ArrowInvalid."""
    try:
        return parse(text.decode())
    except UnicodeDecodeError:
        raise pa.ArrowInvalid("an object key is UTF-8 text") from None
    except ValueError as error:
        raise pa.ArrowInvalid(str(error)) from None
