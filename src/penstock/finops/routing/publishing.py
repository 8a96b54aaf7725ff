"""Policies of routes as they are published: one document per route, which every host's controller reads and tells its workers.

What changes for a tag is told before it is published: to the audit log, the operator and, where it is an alarm, to all of `[notify.*]`.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Protocol

import msgspec

from penstock.domain.routing.proving.policy import RoutePolicy, State, TagPolicy
from penstock.finops.metrics import Gauges
from penstock.ports.audit_log import AuditEntry, AuditLog
from penstock.ports.documents import Document, Documents
from penstock.ports.metrics import ROUTE_ERROR_BUDGET, ROUTE_EXPECTED_LOSS, ROUTE_STATE
from penstock.ports.notifier import Message

KIND: Final = "routing"
SILENT: Final[tuple[State, ...]] = ("closed", "gated")
"""how tags begin"""
MOST_SHOWN: Final = 200
"""tags of a route on `/metrics`: those with an alarm first, then those with most labels"""
OPEN: Final[tuple[State, ...]] = ("proven", "expected")
_ACTIONS: Final[dict[State, str]] = {
    "proven": "routing.open", "expected": "routing.open", "gated": "routing.open", "closed": "routing.close", "alarm": "routing.alarm",
    "off": "routing.off",
}  # fmt: skip
_WORDS: Final[dict[State, str]] = {
    "proven": "its cheap way is open: labels of its own bound the loss",
    "expected": "its cheap way is open: the loss is expected to stay within the error budget",
    "gated": "too little is known of it: only what two cheap tiers agree on is kept",
    "closed": "its cheap way is closed",
    "alarm": "its cheap way is closed by an alarm: labels show more loss than was expected",
    "off": "it goes by the best fixed split: routing does not beat that at the same cost",
}


class Post(Protocol):
    """Where messages are handed in: the outbox."""

    def send(self, recipients: Sequence[str], message: Message) -> int:
        """Writes it down for each of them. Raises `StoreError`."""


def published(documents: Documents, routes: Sequence[str] | None = None) -> tuple[RoutePolicy, ...]:
    """The policies that stand, by name of their route; of these routes only, where they are named. Raises `StoreError`."""
    found = [policy for document in documents.since(KIND) if (policy := _read(document)) is not None]
    return tuple(sorted((each for each in found if routes is None or each.route in routes), key=lambda each: each.route))


def _read(document: Document) -> RoutePolicy | None:
    """None for one that another version of Penstock wrote, and this one cannot read: as good as nothing open."""
    try:
        return msgspec.json.decode(document.body, type=RoutePolicy)
    except msgspec.DecodeError:
        return None


class Published:
    """What stands, read again and again for the workers of this host; its gauges are of the last look."""

    def __init__(self, documents: Documents, routes: Sequence[str]) -> None:
        """`routes`: those of the config that go by evidence."""
        self._documents, self._routes = documents, tuple(routes)
        self._known: tuple[RoutePolicy, ...] = ()

    def __call__(self) -> tuple[RoutePolicy, ...]:
        """Raises `StoreError`."""
        self._known = published(self._documents, self._routes)
        return self._known

    def gauges(self) -> Gauges:
        """Error budgets, expected losses and states; a loss that is unknown is absent."""
        budgets, losses, states = [], [], []
        for policy in self._known:
            budgets.append(((policy.route,), policy.error_budget))
            for tag in sorted(policy.tags.values(), key=lambda tag: (tag.state != "alarm", -tag.labels))[:MOST_SHOWN]:
                states.append(((policy.route, tag.tag, tag.state), 1.0))
                if tag.expected_loss is not None:
                    losses.append(((policy.route, tag.tag), tag.expected_loss))
        return {ROUTE_ERROR_BUDGET.name: budgets, ROUTE_EXPECTED_LOSS.name: losses, ROUTE_STATE.name: states}


class Publisher:
    """Puts policies where all hosts find them. `recipients` hear of alarms; `link`: the page that a message points to."""

    def __init__(
        self,
        documents: Documents,
        audit: AuditLog,
        post: Post,
        recipients: Sequence[str],
        log: Callable[[str], None],
        link: str | None = None,
    ) -> None:
        self._documents, self._audit, self._post, self._log = documents, audit, post, log
        self._recipients, self._link = tuple(recipients), link

    def before(self, route: str) -> RoutePolicy | None:
        """What stands of a route now. Raises `StoreError`."""
        document = self._documents.get(KIND, route)
        return None if document is None else _read(document)

    def publish(self, policy: RoutePolicy) -> RoutePolicy:
        """Publishes it as it is told: every state with the instant at which it began. Raises `StoreError`."""
        before = self.before(policy.route)
        dated = _dated(policy, before)
        for tag, was in _changes(dated, before):
            self._tell(dated, tag, was)
        self._documents.put(Document(KIND, dated.route, dated.at_ns, msgspec.json.encode(dated).decode()))
        return dated

    def withdraw(self, routes: Sequence[str]) -> None:
        """Removes what stands of routes that are not among these. Raises `StoreError`."""
        for document in self._documents.since(KIND):
            if document.id not in routes:
                self._documents.remove(KIND, document.id)

    def _tell(self, policy: RoutePolicy, tag: TagPolicy, was: State | None) -> None:
        id = f"routing/{policy.route}/{tag.tag}/{tag.since_ns}/{tag.state}"
        details = {"route": policy.route, "tag": tag.tag, "was": was, "state": tag.state, **_figures(policy, tag)}
        subject = f"Route {policy.route}, {tag.tag}"
        self._audit.write(
            AuditEntry(
                id=id, at_ns=tag.since_ns, actor="penstock", action=_ACTIONS[tag.state], subject=f"{policy.route}/{tag.tag}",
                details=details,
            )
        )  # fmt: skip
        self._log(f"{'warning: ' if tag.state == 'alarm' else ''}{subject}: {_WORDS[tag.state]}; {_said(policy, tag)}")
        if tag.state != "alarm" and was != "alarm":
            return
        message = Message(
            id=id,
            at_ns=tag.since_ns,
            subject=f"{subject}: {'alarm' if tag.state == 'alarm' else 'the alarm is over'}",
            text=f"{_WORDS[tag.state].capitalize()}; {_said(policy, tag)}",
            severity="warning" if tag.state == "alarm" else "info",
            status="firing" if tag.state == "alarm" else "resolved",
            labels={"alertname": "PenstockRouteAlarm", "route": policy.route, "tag": tag.tag},
            details=details,
            link=self._link,
        )
        self._post.send(self._recipients, message)


def _dated(policy: RoutePolicy, before: RoutePolicy | None) -> RoutePolicy:
    """A state that goes on keeps the instant at which it began; a new one begins with the policy."""

    def since(tag: TagPolicy) -> TagPolicy:
        was = None if before is None else before.tags.get(tag.tag)
        goes_on = was is not None and was.state == tag.state
        return msgspec.structs.replace(tag, since_ns=was.since_ns if was is not None and goes_on else policy.at_ns)

    return msgspec.structs.replace(policy, tags={name: since(tag) for name, tag in policy.tags.items()})


def _changes(policy: RoutePolicy, before: RoutePolicy | None) -> Iterator[tuple[TagPolicy, State | None]]:
    """Tags whose state is another one than before, with that; how a tag begins is no news. From proven to expected and back is
    told on pages only: the way is open as before."""
    for name, tag in policy.tags.items():
        was = before.tags[name].state if before is not None and name in before.tags else None
        if was == tag.state or (was is None and tag.state in SILENT) or (was in OPEN and tag.state in OPEN):
            continue
        yield tag, was


def _figures(policy: RoutePolicy, tag: TagPolicy) -> dict[str, Any]:
    """For programs; unknown is null."""
    return {
        "error_budget": policy.error_budget, "labels": tag.labels, "expected_loss": tag.expected_loss, "loss_low": tag.loss_low,
        "loss_high": tag.loss_high, "at_most": tag.at_most, "cost_share": tag.cost_share, "why": tag.course.why,
    }  # fmt: skip


def _said(policy: RoutePolicy, tag: TagPolicy) -> str:
    """For people."""
    loss = "unknown" if tag.expected_loss is None else f"{tag.expected_loss:.2%}"
    return f"expected loss {loss} of {policy.error_budget:.1%}, {tag.labels:,} labels" + (f"; {tag.course.why}" if tag.course.why else "")
