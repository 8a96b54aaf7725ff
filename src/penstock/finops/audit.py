"""What the audit log is told: entries in one form, and what changed in the config between two starts.

An entry never holds a secret: of those the config knows the names of environment variables alone.
"""

from collections.abc import Iterator, Mapping
from secrets import randbits
from typing import Any

import msgspec

from penstock.config.settings import Settings
from penstock.config.spending import Slo
from penstock.config.tables import Table
from penstock.domain.ledger.entries import Close, Entry
from penstock.domain.units import format_usd
from penstock.finops.window import iso
from penstock.ports.audit_log import AuditEntry, AuditLog
from penstock.ports.documents import Document, Documents

_KIND, _ID = "config", "audited"
_TRIES = 5


class _Noted(msgspec.Struct):
    """The config as it was last seen, and the entries that tell how it came to be so: whoever died before writing them is made up for."""

    seen: dict[str, dict[str, Any]]
    entries: list[AuditEntry] = []


def audit_entry(actor: str, action: str, subject: str, now_ns: int, details: Mapping[str, Any] | None = None) -> AuditEntry:
    """An entry of this instant. Ids are unique, and as text in the order of time."""
    id = f"aud_{now_ns:016x}{randbits(32):08x}"
    return AuditEntry(id=id, at_ns=now_ns, actor=actor, action=action, subject=subject, details=dict(details or {}))


def entry_json(entry: AuditEntry) -> dict[str, Any]:
    """An entry as commands and HTTP show it; the time is ISO 8601 in UTC."""
    return {
        "id": entry.id,
        "at": iso(entry.at_ns),
        "actor": entry.actor,
        "action": entry.action,
        "subject": entry.subject,
        "details": entry.details,
    }


def cost_recorded(entry: Entry, actor: str, now_ns: int) -> AuditEntry:
    """Somebody recorded a training run or another cost."""
    details = {"kind": entry.kind, "name": entry.name, "cost_usd": format_usd(entry.cost), "tags": entry.tags}
    return audit_entry(actor, "cost.record", entry.id, now_ns, details)


def month_closed(close: Close, actor: str, now_ns: int) -> AuditEntry:
    """Somebody closed a month."""
    details = {"number": close.number, "total_usd": format_usd(close.total), "inputs_sha256": close.inputs_sha256}
    return audit_entry(actor, "month.close", close.month, now_ns, details)


def note_config(audit: AuditLog, documents: Documents, settings: Settings, now_ns: int) -> int:
    """Writes an entry for each budget, limit, objective and rule of access that differs from those of the last start; how many.

    The first start has nothing to compare with, and writes none. Hosts that start at once write each change once; hosts whose configs
    differ write a change whenever another one of them starts. Raises `StoreError`.
    """
    for _ in range(_TRIES):
        stored = documents.get(_KIND, _ID)
        noted = None if stored is None else msgspec.json.decode(stored.body, type=_Noted)
        for entry in noted.entries if noted is not None else ():
            audit.write(entry)
        seen = _seen(settings)
        if noted is not None and noted.seen == seen:
            return 0
        entries = [] if noted is None else list(_changes(noted.seen, seen, now_ns))
        body = msgspec.json.encode(_Noted(seen, entries), order="deterministic").decode()
        if documents.swap(Document(_KIND, _ID, now_ns, body), None if stored is None else stored.body):
            for entry in entries:
                audit.write(entry)
            return len(entries)
    return 0  # others were quicker each time: they have noted theirs, and the next start notes ours


def _seen(settings: Settings) -> dict[str, dict[str, Any]]:
    """What is watched: kind -> name -> the table as JSON, durations in seconds."""
    watched = {
        "budget": {budget.name: _given(budget) for budget in settings.budgets},
        "limit": {limit.name: _given(limit) for limit in settings.limits},
        "slo": {_slo_name(slo): _given(slo) for slo in settings.slos},
        "auth": _given(settings.auth),
    }
    seen: dict[str, dict[str, Any]] = msgspec.json.decode(msgspec.json.encode(watched, enc_hook=float))
    return seen


def _given(table: Table) -> dict[str, Any]:
    """The keys that differ from their defaults: a key that a newer penstock knows is no change."""
    given = {}
    for field in msgspec.structs.fields(table):
        made = field.default_factory
        default = field.default if made is msgspec.NODEFAULT else made()
        if (value := getattr(table, field.name)) != default:
            given[field.name] = value
    return given


def _slo_name(slo: Slo) -> str:
    where = ", ".join(f"{name}={value}" for name, value in slo.where.items())
    return slo.name or f"{slo.metric} of {where or 'all'}"


def _changes(before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]], now_ns: int) -> Iterator[AuditEntry]:
    for kind in after:
        old, new = before.get(kind, {}), after[kind]
        for name in dict.fromkeys((*old, *new)):
            if old.get(name) == new.get(name):
                continue
            verb = "change" if kind == "auth" or (name in old and name in new) else "add" if name in new else "remove"
            yield audit_entry("penstock", f"{kind}.{verb}", name, now_ns, {"before": old.get(name), "after": new.get(name)})
