"""Pure machines: which task runs where, and which objects are still wanted.

Nothing in this package knows a clock, a thread, a socket or a user's object. Events go in,
commands come out, in the same order every time.
"""
