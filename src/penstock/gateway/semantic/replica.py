"""What the log says, taken into this worker's memory: entries, answers at hand, and what the judges of scopes learn."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from penstock.domain.ledger.request_id import request_id
from penstock.gateway.semantic.entries import Entries
from penstock.gateway.semantic.scopes import Scopes
from penstock.gateway.semantic.shelf import Shelf
from penstock.gateway.semantic.withdrawn import Withdrawn
from penstock.ports.answer_store import Entry, Event, Evidence, Numbered, Removal, Told, Used, Vouched

AT_A_STEP: Final = 50
"""entries of a removal that go in one step"""


class Replica:
    """`failed` is told of events that could not be taken in. What is returned as steps is done as they are taken, so that who takes them
    may do other things in between."""

    def __init__(
        self, entries: Entries, shelf: Shelf, scopes: Scopes, withdrawn: Withdrawn, failed: Callable[[str, Exception], None]
    ) -> None:
        self._entries, self._shelf, self._scopes, self._withdrawn, self._failed = entries, shelf, scopes, withdrawn, failed

    def read(self, numbered: Numbered) -> Iterator[None]:
        """Steps that take in what the log says next. What the state that was kept knows already is not learned again."""
        try:
            if not isinstance(numbered.event, Evidence | Told | Used) or self._scopes.is_news(numbered.place):
                yield from self._steps(numbered.event)
        except Exception as problem:  # one event that nobody can read must not keep all later ones out
            self._failed("on an event of its log", problem)

    def take(self, event: Event) -> None:
        """Takes in one event, all of it at once; own entries are known already when they are read back."""
        for _ in self._steps(event):
            pass

    def _steps(self, event: Event) -> Iterator[None]:
        match event:
            case Entry():
                self._entries.put(event, time.time_ns(), time.monotonic())
            case Removal(entries=entries, reason=reason):
                for start in range(0, len(entries), AT_A_STEP):
                    gone = entries[start : start + AT_A_STEP]
                    self._withdraw(gone, by_people=reason in ("purged", "wrong"))
                    for entry in gone:
                        self.forget(entry)
                    yield
            case Vouched(entry=entry, curated=curated):
                self._entries.vouch(entry, curated)
            case Evidence():
                self._scopes.learn(event)
            case Told():
                self._scopes.told(event)
            case Used():
                self._scopes.used(event)

    def _withdraw(self, entries: Sequence[str], *, by_people: bool) -> None:
        """What people took out, or wrote anew, is not replayed by the exact layer either; what only made room may be."""
        gone = [entry for entry in entries if by_people or self._entries.is_rewritten(entry)]
        if gone:
            kept = [found for entry in gone if (found := self._entries.get(entry)) is not None]
            before = request_id(time.time_ns(), 0)
            self._withdrawn.add(gone, (each.wording for each in kept), before, time.monotonic())

    def forget(self, entry: str) -> None:
        """Nothing happens where it is not known."""
        self._entries.remove(entry)
        self._shelf.forget(entry)

    def clear(self) -> Iterator[None]:
        """The log is another one: nothing of the old one is known any more, but what nobody may get stays so. Steps tidy up."""
        self._shelf.clear()
        self._scopes.clear()
        return self._entries.clear()
