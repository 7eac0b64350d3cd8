"""The engine for debuggers: every call runs at once, in the thread that makes it."""
