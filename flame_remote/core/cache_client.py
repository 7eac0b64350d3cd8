"""The calls that a Flame object cache answers, each as one function over one connection."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import bson
import pyarrow as pa
from pyarrow import flight

from flame_remote._deadline import Deadline
from flame_remote.exceptions import ClusterError, FlameErrorCode

from . import cache_errors, native, payload
from .flight import FlightConnection
from .object_ref import ObjectRef
from .payload import Payload
from .recent_objects import FetchedObject

# Requests that are on their way at once, of those that need no answer before the next.
_PIPELINED: Final = 64
_DELETE_MANY_KEYS: Final = 1000  # keys in one action


@dataclass(slots=True)
class Answer:
    """What a cache says about an object.

    Attributes:
        fetched: the object; None if it is no newer than the version that was asked with.
        only_patches: whether `fetched` has no base, only patches that the asker lacks.
    """

    fetched: FetchedObject | None
    only_patches: bool = False


class CacheClient:
    """One object cache. Safe to use from any thread; each call blocks until it is answered.

    `timeout` is seconds for a whole call. All raise ClusterError with Flame's code, ConnectError
    if there is no cache, or none any more.
    """

    def __init__(self, connection: FlightConnection) -> None:
        """Use a connection, which belongs to the process."""
        self._connection = connection

    def put(self, place: str, sent: Payload, timeout: float) -> ObjectRef:
        """Store an object: a new one under a prefix, or the whole of the one with that key."""
        descriptor = flight.FlightDescriptor.for_path(place)
        # Under a prefix each attempt makes an object, and of a lost one nobody knows the key.
        return self._put(f"put object {place}", descriptor, sent, timeout, place.count("/") == 2)

    def append(self, key: str, patch: Payload, timeout: float) -> ObjectRef:
        """Append a patch to an object."""
        descriptor = flight.FlightDescriptor.for_command(f"PATCH:{key}".encode())
        return self._put(f"patch object {key}", descriptor, patch, timeout, False)

    def _put(
        self, doing: str, descriptor: Any, sent: Payload, timeout: float, repeatable: bool
    ) -> ObjectRef:
        return self.put_batches(
            doing, descriptor, sent.schema, lambda: sent.batches, timeout, repeatable
        )

    def put_batches(
        self,
        doing: str,
        descriptor: Any,
        schema: pa.Schema,
        batches: Callable[[], Iterable[pa.RecordBatch]],
        timeout: float,
        repeatable: bool,
    ) -> ObjectRef:
        """Store what `batches` yields; it is called anew for each attempt."""

        def operation(client: Any, options: Any) -> bytes | None:
            writer, reader = client.do_put(descriptor, schema, options)
            try:
                for batch in batches():
                    writer.write_batch(batch)
            except BaseException:
                _take_back(client, writer, reader, schema, options)
                raise
            writer.done_writing()
            answer = reader.read()
            writer.close()
            return None if answer is None else answer.to_pybytes()

        answer = self._connection.call(doing, operation, timeout=timeout, repeatable=repeatable)
        if answer is None:
            raise ClusterError(f"cannot {doing}: the object cache answered nothing")
        return _ref_in(answer)

    def fetch(self, key: str, known_version: int, timeout: float) -> Answer:
        """Ask for an object, or for what is newer than the version that is known (0 for none)."""

        def operation(client: Any, options: Any) -> pa.Table:
            ticket = flight.Ticket(f"{key}:{known_version}".encode())
            return client.do_get(ticket, options).read_all()

        doing = f"get object {key}"
        table = self._connection.call(doing, operation, timeout=timeout)
        if native.is_native(table.schema):
            version = native.version_of(table.schema)
            if known_version and version == known_version:
                return Answer(None)
            return Answer(FetchedObject(version, table, (), table.nbytes))
        return _answer_in(table, doing)

    def read_batches(
        self, key: str, read: Callable[[pa.Schema, Iterator[pa.RecordBatch]], None], timeout: float
    ) -> None:
        """Ask for all of an object, and have `read` take it as it comes; anew for each attempt."""

        def operation(client: Any, options: Any) -> None:
            reader = client.do_get(flight.Ticket(f"{key}:0".encode()), options)
            try:
                read(reader.schema, (chunk.data for chunk in reader))
            except BaseException:
                reader.cancel()
                raise

        self._connection.call(f"get object {key}", operation, timeout=timeout)

    def endpoint_of(self, key: str, timeout: float) -> str:
        """Return the endpoint at which the cache says that it has an object."""

        def operation(client: Any, options: Any) -> str:
            descriptor = flight.FlightDescriptor.for_path(key)
            info = client.get_flight_info(descriptor, options)
            uri: bytes = info.endpoints[0].locations[0].uri
            return uri.decode()

        return self._connection.call(f"look up object {key}", operation, timeout=timeout)

    def act(self, action: str, body: str, doing: str, timeout: float) -> bytes:
        """Have the cache do something; return what it answers, joined."""

        def operation(client: Any, options: Any) -> bytes:
            results = client.do_action(flight.Action(action, body.encode()), options)
            return b"".join(result.body.to_pybytes() for result in results)

        return self._connection.call(doing, operation, timeout=timeout)

    def delete_many(self, keys: Sequence[str], timeout: float) -> None:
        """Delete objects by their keys, many per round trip. Keys that do not exist are fine."""
        deadline = Deadline(timeout)
        for start in range(0, len(keys), _DELETE_MANY_KEYS):
            part = keys[start : start + _DELETE_MANY_KEYS]
            doing = f"delete {len(part)} objects, the first of which is {part[0]}"
            if self._connection.knows_delete_many:
                try:
                    self.act("DELETE_MANY", "\n".join(part), doing, deadline.remaining() or 0)
                    continue
                except ClusterError as error:
                    if error.code != FlameErrorCode.INVALID_ARGUMENT:
                        raise
                # The keys have been checked, so it is the action that Flame's own does not know.
                self._connection.knows_delete_many = False
            self._delete_one_by_one(part, doing, deadline)

    def _delete_one_by_one(self, keys: Sequence[str], doing: str, deadline: Deadline) -> None:
        """Send requests without waiting for the answers to those before."""

        def operation(client: Any, options: Any) -> None:
            for start in range(0, len(keys), _PIPELINED):
                window = keys[start : start + _PIPELINED]
                under_way = [
                    client.do_action(flight.Action("DELETE", key.encode()), options)
                    for key in window
                ]
                for results in under_way:
                    list(results)

        self._connection.call(doing, operation, timeout=deadline.remaining() or 0)


def _take_back(client: Any, writer: Any, reader: Any, schema: pa.Schema, options: Any) -> None:
    """Have the cache not keep what was sent of an object so far.

    Flight has no way to break a put off: however the stream ends, its end looks like that of a
    whole object. So it ends with a row that means nothing, which our cache refuses; what another
    cache makes of it is deleted.
    """
    with suppress(*cache_errors.FLIGHT_ERRORS):  # the error that led here is the one to tell
        nothing = [pa.nulls(1, type=field.type) for field in schema]
        writer.write_batch(pa.RecordBatch.from_arrays(nothing, schema=schema))
        writer.done_writing()
        answer = reader.read()
        if answer is not None:
            key = _ref_in(answer.to_pybytes()).key
            list(client.do_action(flight.Action("DELETE", key.encode()), options))
    with suppress(*cache_errors.FLIGHT_ERRORS):
        writer.close()


def _ref_in(answer: bytes) -> ObjectRef:
    document = bson.decode(answer)
    return ObjectRef(document["endpoint"], document["key"], int(document["version"]))


def _answer_in(table: pa.Table, doing: str) -> Answer:
    """Sort the rows of an answer into base and patches. Raises ClusterError for a wrong answer."""
    rows = list(payload.rows_of(table))
    if not rows:
        return Answer(None)
    bases = [data for _, kind, data in rows if kind == payload.BASE]
    patches = [(version, data) for version, kind, data in rows if kind == payload.PATCH]
    versions = [version for version, _ in patches]
    in_order = all(a < b for a, b in itertools.pairwise(versions))
    base_first = not bases or rows[0][1] == payload.BASE
    if len(bases) > 1 or not base_first or len(bases) + len(patches) < len(rows) or not in_order:
        kinds = [(version, kind) for version, kind, _ in rows[:10]]
        raise ClusterError(
            f"cannot {doing}: the object cache answered with rows in an order that means nothing: "
            f"{kinds}"
        )
    fetched = FetchedObject(
        max(version for version, _, _ in rows),
        bases[0] if bases else None,
        tuple(data for _, data in patches),
        sum(data.size for _, _, data in rows),
    )
    return Answer(fetched, only_patches=not bases)
