"""Refs as bytes."""

from __future__ import annotations

import bson
import pytest

from flame_remote.core.object_ref import ObjectRef
from flame_remote.exceptions import ClusterError, FlameErrorCode

REF = ObjectRef("grpc://127.0.0.1:9090", "app/session/object", 3)


def test_a_ref_is_a_document_of_three_fields_in_flames_order() -> None:
    document = bson.decode(REF.encode())
    assert list(document.items()) == [
        ("endpoint", "grpc://127.0.0.1:9090"),
        ("key", "app/session/object"),
        ("version", 3),
    ]


def test_a_ref_survives_its_bytes_also_with_a_64_bit_version() -> None:
    assert ObjectRef.decode(REF.encode()) == REF
    wide = {"endpoint": REF.endpoint, "key": REF.key, "version": bson.int64.Int64(3)}
    decoded = ObjectRef.decode(memoryview(bson.encode(wide)))
    assert decoded == REF
    assert type(decoded.version) is int


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "not an encoded ObjectRef"),
        (b"\x80\x05]\x94.", "not an encoded ObjectRef"),
        (bson.encode({"endpoint": "e", "key": "k"}), "version"),
        (bson.encode({"endpoint": "e", "key": "k", "version": 1, "x": 1}), "'x'"),
        (bson.encode({"endpoint": "e", "key": 5, "version": 1}), "wrong type"),
    ],
)
def test_bytes_that_are_no_ref_are_refused(data: bytes, complaint: str) -> None:
    with pytest.raises(ClusterError, match=complaint) as raised:
        ObjectRef.decode(data)
    assert raised.value.code == FlameErrorCode.INVALID_ARGUMENT
