"""The descriptor pool of our messages; generated code asks for the default one and gets this."""

from __future__ import annotations

from google.protobuf.descriptor_pool import DescriptorPool

_pool = DescriptorPool()


def Default() -> DescriptorPool:
    """Return the pool."""
    return _pool
