"""The courier: brings clients the outcomes they are to hear, at once, later or when they read on.

At once: what ended in a turn. When it is on disk: that a task was cancelled, for it must not run
after all. When they have read: what a client is owed (news.py), looked up in the store again. It
also notes stored results that nobody needs, for drops.py to tell their holders.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ..protocol import messages as m
from ..task import Kind, key
from .ledger import RECORD
from .peers import Peer

if TYPE_CHECKING:
    from .router import RouterCore


class Courier:
    """Tells clients for `core`. `marks`: it is time to note how far each of them is."""

    def __init__(self, core: RouterCore) -> None:
        self._core = core
        self.marks = False

    def settle(self, now: float) -> None:
        """Send what this turn has to tell, and ask for what is to be told in a later one."""
        peers, ledger = self._core.peers, self._core.ledger
        if peers.listeners:
            self._flush(now)
        if peers.behind:
            self._look_up_owed()
        if self.marks:
            self.marks = False
            for peer in peers.by_id.values():
                peer.news.mark(peer.link.sent, ledger.age_s)
        if ledger.cancelled:
            cancelled, ledger.cancelled = ledger.cancelled, []
            self._core.after_commit(partial(self._tell_cancelled, cancelled), first=True)
        if ledger.late:
            self._look_up_late()

    def _flush(self, now: float) -> None:
        peers = self._core.peers
        listeners, peers.listeners = peers.listeners, {}
        for peer in listeners:
            for run, size in peer.news.messages():
                peers.send(peer, m.Outcomes([list(run)]), now)
                peer.news.sent(peer.link.sent, size)
            peers.behind[peer] = None

    def _look_up_owed(self) -> None:
        """Those who did not read hear of what ended meanwhile, as they read on."""
        behind = self._core.peers.behind
        for peer in list(behind):
            if not peer.news.is_behind:
                del behind[peer]
            elif peer.news.owes:
                peer.news.asking = True
                spans = peer.news.take_owed()
                self._core.lookups.ask("outcomes", spans, partial(self._told_by_store, peer))

    def _told_by_store(self, peer: Peer, answer: Any, now: float) -> None:
        peer.news.asking = False
        self._core.orders.tell(peer, answer, now)

    def _tell_cancelled(self, cancelled: list[tuple[Peer, str, int, Any]], now: float) -> None:
        """The news, before the verdict that follows: who has that may look at the future."""
        for peer, session, counter, body in cancelled:
            self._core.peers.tell(peer, session, [counter], [Kind.CANCELLED], [body])
        self._flush(now)

    def _look_up_late(self) -> None:
        """Results that came when their task had ended: unless it ended with that very one, told
        twice, nobody needs them."""
        ledger = self._core.ledger
        late, ledger.late = ledger.late, []
        spans = [(session, counter, 1) for session, counter, _, _ in late]
        self._core.lookups.ask("outcomes", spans, partial(self._drop_late, late))

    def _drop_late(self, late: list[tuple[str, int, int, str]], answer: Any, now: float) -> None:
        for (session, counter, lease, store), (_, _, record, _) in zip(late, answer, strict=True):
            if record is None or RECORD.unpack_from(record)[1] != lease:
                drop = ("drop", store, key(session, counter), lease, 0.0)
                self._core.ledger.writes.append(drop)
