"""Who leads: of all controllers on one store one does what must be done once, by a lease that is a document there.

No clock is compared with another host's. The leader renews the lease; the others watch it, and one that has seen no renewal for
`LEASE_S` of its own time swaps it for its own, which the store lets only one of them do. The leader stops trusting a lease that it
could not renew for `TRUST_S`, before anybody may take it. So two never lead at once, however wrong their clocks are set, as long as
these run about equally fast.

What a chore had begun when its leader lost the lease it may end beside the next one's: every step can be repeated, as all chores' can.
"""

import threading
import time
from collections.abc import Callable
from typing import Final
from uuid import uuid4

import msgspec

from penstock.finops.chores import Chore
from penstock.ports.documents import Document, Documents
from penstock.ports.usage_store import StoreError

KIND: Final = "lease"
NAME: Final = "controller"
LEASE_S = 8.0
TRUST_S = 6.0
RENEW_S = 2.0
LOOK_S = 1.0
"""how often those look who do not lead: a kill is noticed at most LEASE_S + 2 x LOOK_S later"""
STOP_S = 10.0


class Lease(msgspec.Struct, frozen=True):
    """`holder` is None when it was handed back; `mark` is the process's own; `turn` grows with every renewal."""

    holder: str | None
    mark: str
    turn: int


def lease_holder(documents: Documents) -> str | None:
    """Who holds the lease, alive or not; None: nobody. Raises `StoreError`."""
    found = documents.get(KIND, NAME)
    return None if found is None else _decode(found.body).holder


class Leader:
    """One controller's part in it. `step` is called every `pause_s`, by `start` in a thread of its own."""

    def __init__(
        self,
        documents: Documents,
        name: str,
        log: Callable[[str], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """`name`: no other living controller has it; a lease that an earlier one of the same name left is taken at once."""
        self.name, self._mark = name, uuid4().hex
        self._documents, self._log, self._clock, self._wall_ns = documents, log, clock, wall_ns
        self._held: str | None = None
        """the lease as we wrote it; None: it is not ours"""
        self._until = float("-inf")
        """we lead until then, unless it is renewed"""
        self._seen: tuple[str, float] | None = None
        """another's lease, and since when it has not changed"""
        self._fresh = True
        self._trouble = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def pause_s(self) -> float:
        return LOOK_S if self._held is None else RENEW_S

    def leads(self) -> bool:
        """Whether what must be done once is this one's to do, now."""
        return self._clock() < self._until

    def step(self) -> None:
        """Renews the lease, or looks whether it is to be had. Raises `StoreError`: whether we lead then shows at `leads`."""
        now, held = self._clock(), self._held
        if held is not None and self._write(held, now):
            return
        found = self._documents.get(KIND, NAME)
        body = None if found is None else found.body
        if (body is None or self._may_take(body, now)) and self._write(body, now):
            if held is None:
                self._log(f"this controller leads: {self.name}")
        elif held is not None:
            self._held, self._until = None, float("-inf")
            self._log(f"this controller no longer leads: {self.name}")

    def start(self) -> None:
        """Takes part until `close`."""
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Hands the lease back, so that another leads at once."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(STOP_S)
            if self._thread.is_alive():
                return  # the store does not answer: the lease ends by itself
        held, self._held, self._until = self._held, None, float("-inf")
        if held is not None:
            try:
                self._documents.swap(self._document(Lease(None, self._mark, _decode(held).turn + 1)), held)
            except StoreError as problem:
                self._log(f"warning: the lease could not be handed back, another leads in {LEASE_S:.0f} s: {problem}")

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.step()
            except StoreError as problem:
                self._tell(problem)
            else:
                self._trouble = False
            self._stop.wait(self.pause_s)

    def _may_take(self, body: str, now: float) -> bool:
        """Whether nobody holds it, or we do though our renewal seemed to fail, or whoever does has not renewed it for long enough."""
        lease, first, self._fresh = _decode(body), self._fresh, False
        if lease.holder is None or lease.mark == self._mark or (first and lease.holder == self.name):
            return True
        if self._seen is None or self._seen[0] != body:
            self._seen = (body, self._clock())  # after the look: what it saw may have been written while it lasted
        return now - self._seen[1] >= LEASE_S

    def _write(self, before: str | None, now: float) -> bool:
        """Puts our lease in the place of `before`; trusted from before the call on, for others may count from then."""
        turn = 0 if before is None else _decode(before).turn + 1
        document = self._document(Lease(self.name, self._mark, turn))
        if not self._documents.swap(document, before):
            return False
        self._held, self._until, self._seen, self._fresh = document.body, now + TRUST_S, None, False
        return True

    def _document(self, lease: Lease) -> Document:
        return Document(KIND, NAME, self._wall_ns(), msgspec.json.encode(lease).decode())

    def _tell(self, problem: StoreError) -> None:
        if not self._trouble:
            self._log(f"error: who leads cannot be settled: {problem}\nhint: {problem.hint}")
        self._trouble = True


class LeaderOnly:
    """A chore that only the leader does."""

    def __init__(self, chore: Chore, leader: Leader) -> None:
        self._chore, self._leader = chore, leader

    def step(self, now_ns: int) -> int | None:
        """As the chore's; None while another leads."""
        return self._chore.step(now_ns) if self._leader.leads() else None


def _decode(body: str) -> Lease:
    return msgspec.json.decode(body, type=Lease)
