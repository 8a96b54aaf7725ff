"""Messages that were sent, as the pages show them: to whom, and whether they arrived."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from penstock.finops.alerting.outbox import Letter, is_undelivered
from penstock.finops.window import iso

State = Literal["delivered", "waiting", "undelivered", "given up"]


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """One message to one recipient."""

    at: str
    at_ns: int
    subject: str
    mark: str
    recipient: str
    state: State
    """`undelivered` was tried, and is tried again"""
    tries: int
    trouble: str


def sent(letter: Letter) -> Sent:
    """A letter of the outbox."""
    state: State = "undelivered" if letter.tries else "waiting"
    if letter.state != "waiting":
        state = "delivered" if letter.state == "delivered" else "given up"
    return Sent(
        at=iso(letter.written_ns // 10**9 * 10**9),
        at_ns=letter.written_ns,
        subject=letter.message.subject,
        mark=letter.message.labels.get("mark", ""),
        recipient=letter.recipient,
        state=state,
        tries=letter.tries,
        trouble=letter.trouble,
    )


def of_budget(letters: Sequence[Letter], name: str, since_ns: int) -> tuple[Sent, ...]:
    """Those that told of a budget from an instant on, in their order."""
    told = (each for each in letters if each.message.labels.get("alertname") == "PenstockBudget" and each.written_ns >= since_ns)
    return tuple(sent(each) for each in told if each.message.labels.get("budget") == name)


def undelivered(letters: Sequence[Letter], now_ns: int) -> tuple[Sent, ...]:
    """Those that did not arrive, whatever they told of; those that were given up, for a week."""
    return tuple(sent(each) for each in letters if is_undelivered(each, now_ns))
