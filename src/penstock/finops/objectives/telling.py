"""Objectives tell: the audit log, who is to be notified, and the operator. Each piece of news has an id, so that it is told once."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from penstock.domain.budgets.objectives import Change
from penstock.domain.units import format_usd
from penstock.finops.objectives.accounts import Account
from penstock.finops.objectives.episodes import Episode, episode_json
from penstock.finops.objectives.measuring import Objective, cp1kt
from penstock.finops.objectives.responding import recipients
from penstock.ports.audit_log import AuditEntry, AuditLog
from penstock.ports.notifier import Message


class Post(Protocol):
    """Where messages are handed in: the outbox."""

    def send(self, recipients: Sequence[str], message: Message) -> int:
        """Writes it down for each of them. Raises `StoreError`."""


class Tell:
    """Everything that objectives have to say."""

    def __init__(self, audit: AuditLog, post: Post, log: Callable[[str], None]) -> None:
        self._audit, self._post, self._log = audit, post, log
        self._begun: set[str] = set()
        """ids of episodes whose begin is known to be in the audit log"""

    def changed(self, objective: Objective, account: Account, change: Change, episodes: Sequence[Episode]) -> None:
        """Responses of an objective begin or end. Raises `StoreError`."""
        action = "objective.missed" if change == "begin" else "objective.met"
        details = {"respond": list(objective.slo.respond), "dry_run": objective.slo.dry_run, **readings_json(objective, account)}
        id = f"{objective.name}-{action}-{account.at_ns}"
        actor = f"objective:{objective.name}"
        self._audit.write(AuditEntry(id=id, at_ns=account.at_ns, actor=actor, action=action, subject=objective.name, details=details))
        subject, text = _words(objective, account, change, episodes)
        self._log(f"{subject}: {text}")
        begun_ns = account.course.begun_ns or account.at_ns
        message = Message(
            id=f"objective/{objective.name}/{begun_ns}/{change}",
            at_ns=begun_ns,
            subject=subject,
            text=text,
            severity="warning" if change == "begin" else "info",
            status="firing" if change == "begin" else "resolved",
            labels={"alertname": "PenstockObjectiveMissed", "objective": objective.name},
            details={**details, "responses": [episode_json(each) for each in episodes]},
        )
        self._post.send(recipients(objective), message)

    def begun(self, episode: Episode) -> None:
        """A response stands; written once. Raises `StoreError`."""
        if episode.id not in self._begun:
            self._write(episode, "directive.begin", episode.since_ns)
            self._begun.add(episode.id)

    def retargeted(self, objective: Objective, episode: Episode, now_ns: int) -> None:
        """The target of a fleet was raised. Raises `StoreError`."""
        message = Message(
            id=f"objective/{objective.name}/{episode.id}/{episode.target_units}",
            at_ns=now_ns,
            subject=f"Fleet {episode.argument} needs {episode.target_units} units",
            text=f"Its load has grown since objective {objective.name} asked to scale it down from {episode.current_units} units",
            labels={"alertname": "PenstockFleetTarget", "objective": objective.name, "fleet": episode.argument},
            details={"dry_run": objective.slo.dry_run, "responses": [episode_json(episode)]},
        )
        self._post.send(recipients(objective), message)

    def ended(self, objective: Objective | None, episode: Episode) -> None:
        """A response has ended; `objective` is None where the config names it no longer. Raises `StoreError`."""
        self._write(episode, "directive.end", episode.ended_ns or episode.since_ns)
        self._begun.discard(episode.id)
        saved = format_usd(episode.measured)
        figure = f"it saved {saved} USD ({episode.measured_note})" if saved is not None else f"what it saved is {episode.measured_note}"
        self._log(f"objective {episode.objective}: {episode.response} has ended; {figure}")
        if objective is None:
            self._log(f"warning: there is no objective {episode.objective} any more, so its response has ended")

    def _write(self, episode: Episode, action: str, at_ns: int) -> None:
        entry = AuditEntry(
            id=f"{episode.id}-{action}",
            at_ns=at_ns,
            actor=f"objective:{episode.objective}",
            action=action,
            subject=episode.id,
            details=episode_json(episode),
        )
        self._audit.write(entry)


def readings_json(objective: Objective, account: Account) -> dict[str, Any]:
    """What was measured: burn rates as numbers of four places, CP1KT as decimal strings, unknown as null."""
    told: dict[str, Any] = {"target_usd": str(format_usd(round(objective.target))), "basis": basis(objective)}
    for name, reading in (("long", account.long), ("short", account.short)):
        burn, measured = reading.burn(objective.target), cp1kt(reading)
        told[name] = {
            "cp1kt_usd": None if measured is None else f"{measured:f}",
            "burn_rate": None if burn is None else round(float(burn), 4),
            "requests": reading.requests,
            "unpriced": reading.unpriced,
        }
    return told


def basis(objective: Objective) -> str:
    """Which cost is measured, in words."""
    return "allocated, idle included" if objective.with_idle else "as booked, without idle"


def _words(objective: Objective, account: Account, change: Change, episodes: Sequence[Episode]) -> tuple[str, str]:
    """(subject, text)."""
    measured = cp1kt(account.long if change == "begin" else account.short)
    figure = "unknown" if measured is None else f"{measured:f} USD"
    done = ", ".join(each.response for each in episodes) or "nothing but telling"
    dry = objective.slo.dry_run
    if change == "begin":
        would = f"this would begin, but for dry_run: {done}" if dry else f"this has begun: {done}"
        return f"Objective {objective.name} is missed", f"CP1KT is {figure} over its window ({objective.slo.target} is promised); {would}"
    would = f"this would end: {done}" if dry else f"this has ended: {done}"
    return f"Objective {objective.name} is met again", f"CP1KT was {figure} lately ({objective.slo.target} is promised); {would}"
