"""Names that programs written for another library use on our refs and errors.

Empty until a module of `flame_remote.compat` is imported. Looked at only where an attribute is
found nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

# Name -> what makes the attribute's value of its owner. Filled at import, never changed again.
ref_names: Final[dict[str, Callable[[Any], Any]]] = {}
error_names: Final[dict[str, Callable[[Any], Any]]] = {}
