"""ObjectRef: the address of an object in a Flame object cache."""

from __future__ import annotations

from dataclasses import dataclass

from flame_remote.exceptions import ClusterError, FlameErrorCode


@dataclass(slots=True)
class ObjectRef:
    """Where an object lies: a plain address, which counts nothing and keeps nothing alive.

    Not to be confused with `flame_remote.ObjectRef`, the counted handle to a result. It can be
    changed, as Flame's own can: `ref.version = 0` makes the next `get_object` fetch everything.

    Attributes:
        endpoint: of the cache that holds the object, such as "grpc://127.0.0.1:9090".
        key: "<application>/<session>/<object>".
        version: 1 for a new object, one more after each update or patch; 0 for "do not use what
            this process remembers of it".
    """

    endpoint: str
    key: str
    version: int = 0

    def encode(self) -> bytes:
        """Return the bytes by which Flame's programs pass a ref on: a BSON document."""
        import bson

        # The order is part of the format, and a fourth field would break Flame's decoder.
        return bson.encode({"endpoint": self.endpoint, "key": self.key, "version": self.version})

    @classmethod
    def decode(cls, data: bytes | bytearray | memoryview) -> ObjectRef:
        """Return the ref that `encode` made bytes of.

        Args:
            data: the BSON document, with exactly the fields of a ref.

        Raises:
            ClusterError: INVALID_ARGUMENT; these are not the bytes of a ref.
        """
        import bson
        from bson.errors import BSONError

        try:
            document = bson.decode(bytes(data))
            endpoint, key, version = (document.pop(name) for name in ("endpoint", "key", "version"))
        except (BSONError, KeyError, TypeError) as error:
            raise _not_a_ref(str(error)) from error
        if document:
            raise _not_a_ref(f"there are fields beside those of a ref: {sorted(document)}")
        if not (isinstance(endpoint, str) and isinstance(key, str) and isinstance(version, int)):
            raise _not_a_ref("a field has the wrong type")
        return cls(endpoint, key, int(version))


def _not_a_ref(reason: str) -> ClusterError:
    return ClusterError(
        f"these bytes are not an encoded ObjectRef: {reason}", FlameErrorCode.INVALID_ARGUMENT
    )
