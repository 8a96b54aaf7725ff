"""What people change in the cache: entries purged, pinned and let go again. Each change stands in the audit log."""

from collections.abc import Sequence
from secrets import randbits
from typing import Any

import msgspec

from penstock.domain.ledger.request_id import RANDOM_BITS, request_id
from penstock.finops.audit import audit_entry
from penstock.finops.caching.finding import FindError, Wanted
from penstock.finops.caching.following import AnswerLog
from penstock.finops.caching.keeping import removals
from penstock.finops.caching.replacing import with_text
from penstock.finops.caching.standing import Kept
from penstock.ports.answer_store import Vouched
from penstock.ports.audit_log import AuditLog

NAMED = 20
"""ids that an audit entry names of those that were purged"""
PIN = "pin_"
"""begins the ids of entries whose answer a person wrote: there is no request of that id"""


def purge(log: AnswerLog, audit: AuditLog, gone: Sequence[Kept], wanted: Wanted, actor: str, now_ns: int) -> None:
    """Takes entries out for good; running workers stop serving them within a second. Raises `AnswerStoreError`, `StoreError`."""
    log.append(removals([kept.id for kept in gone], "purged", now_ns))
    log.follow()
    asked = {name: value for name, value in msgspec.to_builtins(wanted).items() if value} or {"all": True}
    details = {"entries": len(gone), "asked": asked, "ids": [kept.id for kept in gone[:NAMED]]}
    subject = f"{len(gone):,} {'entry' if len(gone) == 1 else 'entries'}"
    audit.write(audit_entry(actor, "cache.purge", subject, now_ns, details))


def vouch(log: AnswerLog, audit: AuditLog, kept: Kept, curated: bool, actor: str, now_ns: int) -> None:
    """Pins an entry, or lets it go again. Raises `FindError` where it has just gone, `AnswerStoreError`, `StoreError`.

    Who reads the log anew meets the entry as it is now, whatever its age; who has read it is told.
    """
    entry = log.entry(kept.id)
    if entry is None:
        raise FindError(f"the entry {kept.id} has just gone", "`penstock cache find` lists what there is")
    log.append([msgspec.structs.replace(entry, curated=curated), Vouched(at_ns=now_ns, entry=kept.id, curated=curated)])
    log.follow()
    audit.write(audit_entry(actor, "cache.pin" if curated else "cache.unpin", kept.id, now_ns, _told(kept)))


def pin_answer(log: AnswerLog, audit: AuditLog, kept: Kept, text: str, actor: str, now_ns: int) -> str:
    """Puts a person's own text in the place of an entry's answer, in its form and pinned; the id of the entry that has it.

    It is another entry: what was learned of the old answer says nothing of this one. The old one is told to be wrong, so that no layer of a
    worker that has just begun replays it, either. Raises `FindError` where the answer is gone or is
    no plain text, `AnswerStoreError`, `StoreError`.
    """
    answer, entry = log.answer(kept.id), log.entry(kept.id)
    if answer is None or entry is None:
        raise FindError(f"the answer of {kept.id} is gone", "ask the question again, and pin that entry")
    written = with_text(answer, text)
    if written is None:
        raise FindError(f"the answer of {kept.id} is no plain text", "pin it as it is, without --answer")
    id = PIN + request_id(now_ns, randbits(RANDOM_BITS)).removeprefix("req_")
    put = msgspec.structs.replace(
        entry, id=id, at_ns=now_ns, expires_ns=now_ns + (entry.expires_ns - entry.at_ns), alike=None, users=(),
        curated=True, answer_bytes=len(written.body),
    )  # fmt: skip
    log.append([put, *removals([kept.id], "wrong", now_ns)], [(id, msgspec.structs.replace(written, request_id=id))])
    log.follow()
    audit.write(audit_entry(actor, "cache.pin", id, now_ns, {**_told(kept), "replaced": kept.id, "answer_bytes": len(text.encode())}))
    return id


def _told(kept: Kept) -> dict[str, Any]:
    entry = kept.entry
    return {"scope": kept.scope, **({"model": entry.model} if entry is not None else {})}
