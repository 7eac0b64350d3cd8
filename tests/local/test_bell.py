from __future__ import annotations

import threading

from flame_remote._local.bell import Bell


def test_who_waits_is_woken() -> None:
    bell, heard = Bell(), Bell()

    def wait() -> None:
        bell.wait(None)
        heard.ring()

    thread = threading.Thread(target=wait)
    thread.start()
    bell.ring()
    heard.wait(20)
    thread.join()


def test_bell_that_rang_before_is_not_waited_for() -> None:
    bell = Bell()
    bell.ring()
    bell.ring()
    bell.wait(None)


def test_bell_is_silent_once_somebody_has_heard_it() -> None:
    bell = Bell()
    bell.ring()
    bell.wait(None)
    bell.wait(0.0)  # until it is too late


def test_who_waits_is_not_kept_longer_than_he_wants() -> None:
    Bell().wait(0.01)
