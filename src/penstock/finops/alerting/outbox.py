"""The outbox: a message is written down first, once for each recipient, and then delivered until it was taken.

At least once: a delivery whose end nobody wrote down (a crash) is repeated, with the same id. Recipients don't wait for one another:
each has a thread of its own while it is being told something, and one that hangs keeps only its own messages waiting.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import msgspec

from penstock.domain.prices.schedule import HOUR_NS
from penstock.finops.alerting.delivery import PATIENCE_S, Delivery, silent
from penstock.ports.documents import Document, Documents
from penstock.ports.notifier import Message, Notifier, NotifyError

KIND = "message"
FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 600.0
LONGEST_ASKED_S = 3600.0
"""of the pauses that a receiver may ask for"""
WAIT_S = 1.0
"""for deliveries, in one step: most take less"""
CLAIM_S = 60.0
"""a delivery that another host began, and whose end it has not written down by then, is repeated"""
GIVE_UP_NS = 24 * HOUR_NS
SHOWN_NS = 7 * 24 * HOUR_NS
"""how long one that was given up counts as undelivered"""
KEPT_NS = 90 * 24 * HOUR_NS
_SECOND_NS = 10**9


class Letter(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message to one recipient, as it is kept. `next_ns`: not tried before; `ended_ns`: when it was delivered or given up."""

    recipient: str
    message: Message
    written_ns: int
    state: Literal["waiting", "delivered", "failed"] = "waiting"
    tries: int = 0
    next_ns: int = 0
    ended_ns: int | None = None
    trouble: str = ""
    """why the last try failed"""

    @property
    def id(self) -> str:
        return f"{self.message.id} to {self.recipient}"


class _Try:
    """One delivery under way, of the letter that is kept as `body`. `told`: its end was written down, though the receiver still hangs."""

    def __init__(self, body: str, letter: Letter, notifier: Notifier, began: float) -> None:
        self.body, self.letter, self.began, self.told = body, letter, began, False
        self.delivery = Delivery(letter.recipient, notifier, letter.message)


class Outbox:
    """Writes messages down (`send`, from any thread) and delivers them (`step`, a chore: from one thread)."""

    def __init__(
        self,
        documents: Documents,
        notifiers: Mapping[str, Notifier],
        log: Callable[[str], None],
        clock_ns: Callable[[], int] = time.time_ns,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        patience_s: float = PATIENCE_S,
        wait_s: float = WAIT_S,
    ) -> None:
        """`notifiers`: by the names of `[notify.*]`."""
        self._documents, self._notifiers, self._log = documents, notifiers, log
        self._clock_ns, self._monotonic = clock_ns, monotonic
        self._patience_s, self._wait_s = patience_s, wait_s
        self._trying: dict[str, _Try] = {}
        """recipient -> its delivery"""
        self._swept_ns = 0
        self._told: dict[str, str] = {}
        """recipient -> its trouble, as long as it lasts"""
        self._undelivered: set[str] = set()

    @property
    def undelivered(self) -> int:
        """Messages that were refused at least once and still wait, and those given up in the last week; as of the last step."""
        return len(self._undelivered)

    def send(self, recipients: Sequence[str], message: Message) -> int:
        """Writes it down for each of these `[notify.*]`; returns for how many it is new. Raises `StoreError`."""
        now = self._clock_ns()
        letters = [Letter(recipient=name, message=message, written_ns=now) for name in dict.fromkeys(recipients)]
        return sum(self._documents.add(_document(letter)) for letter in letters)

    def letters(self, since_ns: int = 0) -> list[Letter]:
        """As the function `letters`."""
        return letters(self._documents, since_ns)

    def step(self, now_ns: int) -> int:
        """Begins the deliveries that are due, waits for them a little, and writes down what became of them. Returns how much is left to
        do at once. Raises `StoreError`."""
        self._settle(now_ns)
        since = now_ns - SHOWN_NS - GIVE_UP_NS
        if now_ns - self._swept_ns > GIVE_UP_NS:
            since = 0
        found = self._documents.since(KIND, since)
        due = self._begin(found, now_ns)
        if since == 0:
            self._sweep(found, now_ns)
        until = time.monotonic() + self._wait_s
        for each in self._trying.values():
            if not each.told:
                each.delivery.wait(until - time.monotonic())
        self._settle(now_ns)
        return due + sum(not each.told for each in self._trying.values())

    def _begin(self, found: Sequence[Document], now_ns: int) -> int:
        """One delivery for each recipient that has none under way, oldest first. Returns how many are due after those."""
        due, letters = 0, [(document, _read(document)) for document in reversed(found)]
        self._undelivered = {letter.id for _, letter in letters if is_undelivered(letter, now_ns)}
        for document, letter in letters:
            if letter.state != "waiting":
                continue
            notifier = self._notifiers.get(letter.recipient)
            if notifier is None:
                self._end(document.body, letter, NotifyError(f"there is no [notify.{letter.recipient}] any more", retry=False), now_ns)
            elif now_ns - letter.written_ns >= GIVE_UP_NS:
                self._end(document.body, letter, NotifyError(letter.trouble or "it was never tried", retry=False), now_ns)
            elif _is_due(letter, now_ns):
                busy = self._trying.get(letter.recipient)
                if busy is None:
                    self._try(document, letter, notifier, now_ns)
                else:
                    due += not busy.told
        return due

    def _try(self, document: Document, letter: Letter, notifier: Notifier, now_ns: int) -> None:
        """Begins a delivery, unless another host has done so."""
        claimed = msgspec.structs.replace(letter, next_ns=now_ns + round(CLAIM_S * _SECOND_NS))
        if self._documents.swap(_document(claimed), document.body):
            self._trying[letter.recipient] = _Try(_document(claimed).body, letter, notifier, self._monotonic())

    def _settle(self, now_ns: int) -> None:
        for recipient, each in list(self._trying.items()):
            done = each.delivery.done
            if not each.told and (done or self._monotonic() - each.began > self._patience_s):
                self._end(each.body, each.letter, each.delivery.trouble if done else silent(self._patience_s), now_ns)
                each.told = True
            if done:
                del self._trying[recipient]

    def _end(self, body: str, letter: Letter, trouble: NotifyError | None, now_ns: int) -> None:
        """Writes down how a try ended, where nobody else did meanwhile."""
        if trouble is None:
            ended = msgspec.structs.replace(letter, state="delivered", tries=letter.tries + 1, ended_ns=now_ns, trouble="")
            if self._told.pop(letter.recipient, None) is not None:
                self._log(f"[notify.{letter.recipient}] takes messages again")
        else:
            ended = _failed(letter, trouble, now_ns)
            self._tell(ended, trouble)
        self._undelivered.discard(letter.id)
        if is_undelivered(ended, now_ns):
            self._undelivered.add(letter.id)
        self._documents.swap(_document(ended), body)

    def _tell(self, letter: Letter, trouble: NotifyError) -> None:
        """A trouble of a recipient is said once; each message that is given up, always."""
        hint = f"\nhint: {trouble.hint}" if trouble.hint else ""
        if letter.state == "failed":
            self._log(f"error: [notify.{letter.recipient}] was never told `{letter.message.subject}`: {letter.trouble}{hint}")
        elif self._told.get(letter.recipient) != letter.trouble:
            self._log(f"warning: [notify.{letter.recipient}] was not told `{letter.message.subject}`, and will be: {letter.trouble}{hint}")
        self._told[letter.recipient] = letter.trouble

    def _sweep(self, found: Sequence[Document], now_ns: int) -> None:
        for document in found:
            if document.at_ns < now_ns - KEPT_NS:
                self._documents.remove(KIND, document.id)
        self._swept_ns = now_ns


def letters(documents: Documents, since_ns: int = 0) -> list[Letter]:
    """What was written down from an instant on, newest first. Raises `StoreError`."""
    return [_read(document) for document in documents.since(KIND, since_ns)]


def pause_s(tries: int, asked_s: float | None) -> float:
    """Seconds until the next try after so many: doubling from `FIRST_PAUSE_S`, and never sooner than the receiver asked for."""
    own = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(tries - 1, 20))
    return max(own, min(asked_s or 0.0, LONGEST_ASKED_S))


def _failed(letter: Letter, trouble: NotifyError, now_ns: int) -> Letter:
    tried = msgspec.structs.replace(letter, tries=letter.tries + 1, trouble=str(trouble))
    if not trouble.retry:
        return msgspec.structs.replace(tried, state="failed", ended_ns=now_ns)
    return msgspec.structs.replace(tried, next_ns=now_ns + round(pause_s(tried.tries, trouble.after_s) * _SECOND_NS))


def _is_due(letter: Letter, now_ns: int) -> bool:
    """A pause that is longer than any was made by a clock that has jumped back since."""
    return not now_ns < letter.next_ns <= now_ns + round(LONGEST_ASKED_S * _SECOND_NS)


def is_undelivered(letter: Letter, now_ns: int) -> bool:
    """Whether it was refused at least once and still waits, or was given up in the last week."""
    if letter.state == "waiting":
        return letter.tries > 0
    return letter.state == "failed" and now_ns - letter.written_ns < SHOWN_NS


def _document(letter: Letter) -> Document:
    return Document(KIND, letter.id, letter.written_ns, msgspec.json.encode(letter).decode())


def _read(document: Document) -> Letter:
    return msgspec.json.decode(document.body, type=Letter)
