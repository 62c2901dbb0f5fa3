"""Feeding: which slot of a worker gets which of the tasks in its backlog, and when.

The emptiest slots are fed first, as deep as their pace has earned, once they are half empty: what
stands side by side stays together, so that what takes its results is ready in long runs, too. A
task that asks for more than a slot is alone in it, and begins before what asks for nothing: what
has been set apart for it does not idle. While it takes the CPUs of several, as many slots are given
nothing.

Where a worker has GPUs it gives them to tasks by index. A process keeps what it has once opened;
so one that had other GPUs than a task is to have, or none, is replaced first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from .backlog import Piece
from .need import GPU
from .pace import SLOT_TASKS_MAX
from .slot import Slot

if TYPE_CHECKING:
    from .slots import Slots


def _length(slot: Slot) -> int:
    return len(slot.line)


class Feeding:
    """Of the backlog of `slots`.

    Attributes:
        devices: the GPUs that it gives to tasks, as the environment names them; none: it leaves
            them alone.
    """

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self.devices: list[str] = []
        self._cpus = 0  # how many slots more may begin something

    def fill(self, now: float) -> None:
        """Give tasks to slots, emptiest first, to each its share in a row."""
        backlog = self._slots.backlog
        if not backlog:
            return
        slots = [slot for slot in self._slots if slot.takes]
        slots.sort(key=self._emptiness() if self._slots.threads > 1 else _length)
        self._cpus = self._free_cpus()
        progress = True
        while progress and backlog:
            progress = False
            while backlog and backlog.front[0].need is not None:
                if not self._begin(backlog.front[0], now):
                    return  # nothing else begins before it
                progress = True
            low = [slot for slot in slots if backlog and self._is_low(slot)]
            left = backlog.ready(SLOT_TASKS_MAX * len(low)) if low else 0
            for nth, slot in enumerate(low):
                given = self._fill_up(slot, -(-left // (len(low) - nth)), now)
                left -= given
                progress |= given > 0
        if backlog and self._cpus > 0 and self.devices and all(map(self._is_full, slots)):
            had = (slot for slot in slots if slot.crew.devices and slot.crew.is_idle)
            self._replace(next(had, None))

    def _emptiness(self) -> Callable[[Slot], tuple[int, int]]:
        """The order of slots that share processes: tasks are spread over these."""
        busy = Counter(slot.crew.number for slot in self._slots if slot.line)

        def key(slot: Slot) -> tuple[int, int]:
            if not slot.line:
                busy[slot.crew.number] += 1
            return len(slot.line), busy[slot.crew.number]

        return key

    def _free_cpus(self) -> int:
        return len(self._slots) - sum(slot.cpus for slot in self._slots if slot.line)

    def _depth(self, slot: Slot) -> int:
        """How many of what is next may be in the line of `slot`, the running one included."""
        slots, line = self._slots, slot.line
        piece = slots.backlog.front[0]
        pace = slots.paces.of(piece.function)
        is_alone = piece.alone or slots.alone or line and slots.held[line.in_hand[0]].alone
        return 1 if pace is None or is_alone else pace.slot_tasks

    def _is_low(self, slot: Slot) -> bool:
        """Whether a slot is half empty."""
        return len(slot.line) <= self._depth(slot) // 2

    def _is_full(self, slot: Slot) -> bool:
        """Whether a slot takes nothing of what is next, or it has GPUs."""
        return bool(slot.crew.devices) or len(slot.line) >= self._depth(slot)

    def _fill_up(self, slot: Slot, share: int, now: float) -> int:
        """Packets for `slot` of so many tasks at most, of what asks for nothing; of how many."""
        backlog, before = self._slots.backlog, len(slot.line)
        while (given := len(slot.line) - before) < share and backlog:
            if backlog.front[0].need is not None or not self._feed(slot, share - given, now):
                break
        return given

    def _feed(self, slot: Slot, most: int, now: float) -> bool:
        """One packet for `slot`, of at most so many tasks that ask for nothing, if it takes one."""
        slots = self._slots
        piece, low, high = slots.backlog.front
        pace = slots.paces.of(piece.function)
        in_line = len(slot.line)
        crew = slot.crew
        if not crew.takes or crew.devices:
            return False
        if in_line >= self._depth(slot) or not in_line and self._cpus <= 0:
            return False
        count = 1 if pace is None or piece.alone else min(pace.packet_tasks, most)
        if crew.left is not None:
            count = min(count, crew.left)
        if slots.threads > 1:  # one a packet: what a thread is at must be known to end it alone
            count = 1
            is_solitary = self._is_solitary(piece, low)
            if is_solitary and not crew.is_idle:
                return False
            crew.is_solitary = is_solitary
        if slots.alone:
            count = self._count_alone(piece, low, min(count, high - low))
        self._send(slot, count, now)
        return True

    def _send(self, slot: Slot, count: int, now: float) -> None:
        """Hand out the next `count` tasks, of one piece."""
        slots = self._slots
        crew = slot.crew
        piece, low, end = slots.backlog.take(count)
        slot.read = False
        if crew.left is not None:
            crew.left -= end - low
        if not slot.line:
            slot.began = now
            slot.cpus = 1 if piece.need is None else piece.need.cpus
            self._cpus -= slot.cpus
            if self.devices and crew.devices is None:
                crew.devices = ()
        slot.line.add(piece.lease + low, piece.lease + end)
        slots.guard.watch(slot, piece)
        if piece.function not in slot.functions:
            slot.functions.add(piece.function)
            slots.orders.functions.append((slot.number, piece.function))
        slots.orders.tasks.append((slot.number, piece, low, end))

    def _is_solitary(self, piece: Piece, at: int) -> bool:
        """Whether a task has a whole process to itself: its memory is weighed, it was given GPUs,
        or it may be what killed the process of others."""
        if piece.memory is not None or piece.lease + at in self._slots.alone:
            return True
        return bool(self.devices) and piece.need is not None and GPU in piece.need.amounts

    def _count_alone(self, piece: Piece, low: int, count: int) -> int:
        """How many of `count` tasks may share a packet when some must travel alone."""
        alone = self._slots.alone
        first = piece.lease + low
        if first in alone:
            alone.discard(first)
            return 1
        return next((i for i in range(1, count) if first + i in alone), count)

    # -- what asks for more than a slot ------------------------------------------------------

    def _begin(self, piece: Piece, now: float) -> bool:
        """Give the next task, which asks for something, to a slot; False if it has to wait."""
        assert piece.need is not None
        if piece.need.cpus > self._cpus:
            return False
        at = self._slots.backlog.front[1]
        is_solitary = self._is_solitary(piece, at)
        slot = self._slot_for(piece.need.amounts.get(GPU, 0), is_solitary)
        if slot is None:
            return False
        slot.crew.is_solitary = is_solitary
        self._slots.alone.discard(piece.lease + at)
        self._send(slot, 1, now)
        return True

    def _slot_for(self, count: int, is_solitary: bool) -> Slot | None:
        """An idle slot that has `count` GPUs, or is given them, if need be with its whole process
        idle; None if there is none yet."""
        idle = [slot for slot in self._slots if slot.takes and not slot.line]
        if is_solitary:
            idle = [slot for slot in idle if slot.crew.is_idle]
        if not self.devices or not idle:
            return idle[0] if idle else None
        busy = (slot for slot in self._slots if slot not in idle)
        used = {each for slot in busy for each in slot.crew.devices or ()}
        for slot in idle:
            if slot.crew.devices is not None and len(slot.crew.devices) == count:
                return slot
        free = [each for each in self.devices if each not in used]
        kept = {each: slot for slot in idle for each in slot.crew.devices or ()}
        free.sort(key=kept.__contains__)  # the others come first
        chosen = tuple(free[:count])
        if len(chosen) < count:
            return None
        keeping = [kept[each] for each in chosen if each in kept]
        for slot in dict.fromkeys(keeping):  # it may have memory on them
            self._replace(slot)
        new = next((slot for slot in idle if slot.crew.devices is None), None)
        if keeping or new is None:
            if not keeping:
                self._replace(idle[0])
            return None
        new.crew.devices = tuple(sorted(chosen, key=self.devices.index))
        return new

    def _replace(self, slot: Slot | None) -> None:
        """Have another process in the place of an idle one."""
        if slot is not None and slot.takes:
            slot.crew.left = 0
            self._slots.orders.retire.append(slot.number)

    def level(self) -> None:
        """An idle slot beside one with more packets than it is at: those it has not read are taken
        back."""
        slots = self._slots
        if slots.backlog or len(slots.held) < 2:
            return
        if any(slot.takes and not slot.line and not slot.crew.devices for slot in slots):
            busiest = max(slots, key=lambda slot: len(slot.line))
            has_more = len(busiest.line) > len(busiest.line.in_hand) and not busiest.read
            if has_more and self._free_cpus() > 0:
                slots.orders.take_back.append(busiest.number)
