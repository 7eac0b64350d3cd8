"""`python -m flame_remote` is the command `flame-remote`."""

from __future__ import annotations

from flame_remote._cli.local import main

if __name__ == "__main__":
    main()
