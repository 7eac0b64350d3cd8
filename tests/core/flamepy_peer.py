"""Runs in stock flamepy's interpreter: does to the cache what it is told, a line at a time.

Each line of standard input is a JSON list of a name and arguments; the answer is a line of JSON.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import pyarrow as pa
from flamepy.core import cache

REFS: dict[str, Any] = {}


def samples() -> dict[str, Any]:
    """Values that both sides know how to make."""
    return {
        "plain": {"list": [1, 2.5, "ö", None], "bytes": b"\x00\xff"},
        "large": "x" * 3_000_000,
        "tensor": np.arange(12, dtype="f8").reshape(3, 4),
        "fortran": np.asfortranarray(np.arange(6, dtype="i4").reshape(2, 3)),
        "table": pa.table({"a": [1, 2, None], "b": ["x", "y", "z"]}),
        "empty table": pa.table({"a": pa.array([], pa.int64())}),
        "batch": pa.record_batch({"a": [1, 2]}),
        "array": pa.array(["p", None, "q"]),
    }


def same(a: Any, b: Any) -> bool:
    """Compare values of the same kind."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and bool((a == b).all())
    return bool(a.equals(b)) if hasattr(a, "equals") else bool(a == b)


def put(name: str, prefix: str) -> list[Any]:
    REFS[name] = ref = cache.put_object(prefix, samples()[name])
    return [ref.endpoint, ref.key, ref.version]


def is_sample(name: str, encoded: str) -> bool:
    ref = cache.ObjectRef.decode(bytes.fromhex(encoded))
    return same(cache.get_object(ref), samples()[name])


def get_with_patches(encoded: str) -> Any:
    ref = cache.ObjectRef.decode(bytes.fromhex(encoded))
    return cache.get_object(ref, lambda base, patches: [base, patches])


def patch(encoded: str, delta: Any) -> int:
    return int(cache.patch_object(cache.ObjectRef.decode(bytes.fromhex(encoded)), delta).version)


def update(encoded: str, value: Any) -> int:
    return int(cache.update_object(cache.ObjectRef.decode(bytes.fromhex(encoded)), value).version)


def encoded(endpoint: str, key: str, version: int) -> str:
    return cache.ObjectRef(endpoint=endpoint, key=key, version=version).encode().hex()


def upload(key: str, path: str) -> list[Any]:
    ref = cache.upload_object(key, path)
    return [ref.endpoint, ref.key, ref.version]


def delete(prefix: str) -> None:
    cache.delete_objects(prefix)


def error_of(encoded: str) -> list[str]:
    try:
        cache.get_object(cache.ObjectRef.decode(bytes.fromhex(encoded)))
    except Exception as error:
        return [kind.__name__ for kind in type(error).__mro__]
    return []


def main() -> None:
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        print(json.dumps(globals()[name](*arguments)), flush=True)


if __name__ == "__main__":
    main()
