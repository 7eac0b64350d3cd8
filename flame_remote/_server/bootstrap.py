"""Runs `python -m MODULE ARGUMENT...` in an instance; a script, started by FLAME_HOME/bin/uv.

Where flamepy is not installed its worker is replaced by ours. Nothing else differs from `-m`.
"""

from __future__ import annotations

import importlib.util
import os
import runpy
import sys

STOCK_WORKER = "flamepy.runner.runpy"
OUR_WORKER = "flame_remote._server.worker"
PACKAGE_PARENT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def main() -> None:
    """Run the module that the command line names."""
    sys.path[0] = os.getcwd()  # as -m has it; it was the folder of this file
    module, sys.argv = sys.argv[2], sys.argv[2:]
    if module == STOCK_WORKER and importlib.util.find_spec("flamepy") is None:
        module = OUR_WORKER
    if module.startswith("flame_remote.") and importlib.util.find_spec("flame_remote") is None:
        sys.path.append(PACKAGE_PARENT)  # the cluster runs from a source tree
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
