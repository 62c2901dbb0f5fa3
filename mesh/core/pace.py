"""How quick tasks are, and what follows from it: packets, depth, window.

Tiny tasks need company: sent one by one, the way costs more than the work. Long tasks need none:
what waits behind one could run elsewhere. So the worker measures each function and lets it earn
trust. Packets count on the *slowest* recent run, because the tasks of one packet wait for each
other; depth and window on the average.
"""

from __future__ import annotations

#: A packet, once read by a slot, cannot be taken back: what it holds should last this long at most.
PACKET_S = 0.000_4

#: Unread packets can be taken back; this much work waits at a slot, or half of it, enough to hide
#: one turn of the worker's loop.
SLOT_S = 0.004

#: This much work waits at the worker, enough to hide a round trip to the router under load.
WINDOW_S = 0.040

#: The slowest run that is assumed of a function nothing is known of: it takes some dozens of quick
#: ones until it may share a packet.
PEAK_FIRST_S = 0.02

PACKET_TASKS_MAX = 64
SLOT_TASKS_MAX = 256
WINDOW_TASKS_MAX = 4096

#: So many functions are remembered: those met first go first, and earn their trust anew.
PACES_MAX = 1024

#: What a run costs at least, beyond its own time: decoding, capture, answering.
OVERHEAD_S = 0.000_008


class Pace:
    """The recent runs of one function."""

    __slots__ = ("mean_s", "peak_s")

    def __init__(self, first_s: float) -> None:
        self.mean_s = first_s + OVERHEAD_S
        self.peak_s = max(self.mean_s, PEAK_FIRST_S)

    def add(self, took_s: float, count: int, longest_s: float) -> None:
        """`count` more runs, which took so long together, the longest so long."""
        mean_s = took_s / count + OVERHEAD_S
        self.mean_s += (mean_s - self.mean_s) * (1 - 0.9**count)
        self.peak_s = max(longest_s + OVERHEAD_S, self.peak_s * 0.9**count)

    @property
    def packet_tasks(self) -> int:
        """How many may travel in one packet."""
        return max(1, min(PACKET_TASKS_MAX, int(PACKET_S / self.peak_s)))

    @property
    def slot_tasks(self) -> int:
        """How many may wait at one slot, the running one included."""
        return max(1, min(SLOT_TASKS_MAX, int(SLOT_S / self.mean_s)))

    def window_tasks(self, slots: int) -> int:
        """How many the worker should hold."""
        return max(slots, min(WINDOW_TASKS_MAX, int(slots * WINDOW_S / self.mean_s)))


class Paces:
    """The paces of the functions a worker has run; `latest` is of what it ran last."""

    def __init__(self) -> None:
        self._of: dict[bytes, Pace] = {}
        self.latest: Pace | None = None

    def of(self, function: bytes) -> Pace | None:
        """The pace of `function`, or None if it never ran here, or too many others have since."""
        return self._of.get(function)

    def add(self, function: bytes | None, took_s: float, count: int, longest_s: float) -> None:
        """`count` runs of `function` (none, if it is None); see `Pace.add`."""
        if function is None:
            return
        pace = self._of.get(function)
        if pace is None:
            if len(self._of) == PACES_MAX:
                del self._of[next(iter(self._of))]
            pace = self._of[function] = Pace(longest_s)
        pace.add(took_s, count, longest_s)
        self.latest = pace
