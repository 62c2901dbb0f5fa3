"""The wake-up of a poll: its flag and its byte agree, whoever is how fast."""

from __future__ import annotations

import select
import threading

from mesh.transport.wake import Wake


def is_readable(wake: Wake) -> bool:
    return bool(select.select([wake], [], [], 0)[0])


def test_it_is_readable_while_it_is_set():
    wake = Wake()
    assert (wake.is_set, is_readable(wake)) == (False, False)
    wake.set()
    wake.set()
    assert (wake.is_set, is_readable(wake)) == (True, True)
    wake.clear()
    assert (wake.is_set, is_readable(wake)) == (False, False)
    wake.close()


def test_who_has_hushed_it_is_not_woken_again():
    wake = Wake()
    wake.set()
    wake.hush()
    wake.set()
    assert (wake.is_set, is_readable(wake)) == (True, False)
    wake.clear()
    wake.set()
    assert is_readable(wake)
    wake.close()


def test_flag_and_byte_agree_whoever_is_faster():
    wake = Wake()
    threads = [threading.Thread(target=lambda: [wake.set() for _ in range(5000)]) for _ in "ab"]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        wake.clear()
    assert wake.is_set is is_readable(wake)
    wake.clear()
    assert not is_readable(wake)
    wake.close()


def test_once_closed_it_wakes_nobody():
    wake = Wake()
    wake.close()
    wake.set()
