"""The command lines: `flmctl` with Flame's words and tables, and `flame-remote` for what is ours.

Nothing that a cluster needs (grpc, yaml, pyarrow) is imported before a command runs, so that
`--help` and completion answer at once.
"""
