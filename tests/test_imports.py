"""What `import flame_remote` must not load, and how much it may."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

# Each costs a program that only imports the package tens of milliseconds, or threads, or memory.
FORBIDDEN: Final = {
    "asyncio",
    "click",
    "cloudpickle",
    "concurrent.futures",
    "google.protobuf",
    "grpc",
    "logging",
    "multiprocessing",
    "numpy",
    "psutil",
    "pyarrow",
    "subprocess",
    "tblib",
    "typing_extensions",
    "wrapt",
    "yaml",
}
MOST_MODULES: Final = 110  # the standard library's included

SHOW_NEW_MODULES: Final = """
import sys
before = set(sys.modules)
import flame_remote
print(*sorted(set(sys.modules) - before))
"""


def modules_loaded() -> set[str]:
    # -S: what site-packages load at start must not hide anything. -c puts the current folder, the
    # root of the project in tests, on the path.
    command = [sys.executable, "-S", "-c", SHOW_NEW_MODULES]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(result.stdout.split())


def test_importing_the_package_loads_little() -> None:
    loaded = modules_loaded()
    assert "flame_remote" in loaded
    assert loaded & FORBIDDEN == set()
    assert len(loaded) <= MOST_MODULES
    assert not any(module.startswith("flame_remote._local") for module in loaded)
    assert not any(module.startswith("flame_remote._inline") for module in loaded)
