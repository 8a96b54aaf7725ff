"""What every audit log does, over SQLite and PostgreSQL; and what it is told of a config that changed between two starts."""

import threading

import msgspec
import pytest

from penstock.adapters.stores import open_documents
from penstock.adapters.stores.audit import DocumentAudit
from penstock.config.load import parse
from penstock.config.settings import Settings
from penstock.finops.audit import audit_entry, note_config
from penstock.ports.audit_log import AuditEntry

CONFIG = """
version = 1
[upstreams.u]
kind = "simulated"
[models.m]
upstream = "u"
price = { input = 1, output = 2 }
"""
BUDGET = """
[[budgets]]
name = "firm"
limit = "%s"
alert_at = [50, { at = 80, notify = [] }]
max_wait = "10s"
"""
SLO = """
[[slos]]
metric = "cp1kt"
target = "<= 0.01 USD"
window = "6h"
where = { model = "m" }
"""


def settings(*tables: str) -> Settings:
    return parse(CONFIG + "".join(tables), {})


def test_entries_come_newest_first_and_never_change(url: str) -> None:
    audit = DocumentAudit(open_documents(url))
    assert audit.since() == []
    first = AuditEntry(id="a1", at_ns=1, actor="cli:ann", action="key.create", subject="k1", details={"tags": {"team": "søk"}, "n": 1})
    second = AuditEntry(id="a2", at_ns=2, actor="http:admin", action="key.revoke", subject="k1")
    for entry in (first, second, msgspec.structs.replace(first, actor="cli:eve")):
        audit.write(entry)
    assert audit.since() == [second, first]
    assert audit.since(2) == [second]
    assert audit.since(limit=1) == [second]


def test_ids_are_unique_and_in_the_order_of_time() -> None:
    entries = [audit_entry("penstock", "a.b", "s", now_ns) for now_ns in (5, 5, 17, 10**18, 10**18 + 1)]
    ids = [entry.id for entry in entries]
    assert len(set(ids)) == 5
    assert sorted(ids)[2:] == ids[2:]
    assert set(sorted(ids)[:2]) == set(ids[:2])


def test_the_config_is_compared_with_that_of_the_last_start(url: str) -> None:
    documents = open_documents(url)
    audit = DocumentAudit(documents)
    firm = settings(BUDGET % "10 USD / day")
    assert [note_config(audit, documents, firm, now_ns) for now_ns in (1, 2)] == [0, 0]
    assert audit.since() == []
    dearer = settings(BUDGET % "20 USD / day", SLO, '[[limits]]\nname = "all"\nrequests = "5 / second"\n[auth]\nrequired = true\n')
    assert note_config(audit, documents, dearer, 3) == 4
    changes = {(entry.action, entry.subject): entry.details for entry in audit.since()}
    assert changes["budget.change", "firm"]["before"]["limit"] == "10 USD / day"
    assert changes["budget.change", "firm"]["after"]["limit"] == "20 USD / day"
    assert changes["auth.change", "required"] == {"before": None, "after": True}
    assert changes["limit.add", "all"] == {"before": None, "after": {"name": "all", "requests": "5 / second"}}
    assert ("slo.add", "cp1kt of model=m") in changes
    assert {entry.actor for entry in audit.since()} == {"penstock"}
    assert note_config(audit, documents, dearer, 4) == 0
    assert note_config(audit, documents, settings(), 5) == 4
    assert {entry.action for entry in audit.since(5)} == {"budget.remove", "limit.remove", "slo.remove", "auth.change"}


def test_of_a_secret_only_its_name_is_noted(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADMIN_SECRET", "open sesame")
    documents = open_documents(url)
    audit = DocumentAudit(documents)
    note_config(audit, documents, settings(), 1)
    note_config(audit, documents, settings('[auth]\nadmin_key = { env = "ADMIN_SECRET" }\n'), 2)
    [entry] = audit.since()
    assert entry.details["after"] == {"env": "ADMIN_SECRET"}
    assert "sesame" not in repr(entry)


def test_hosts_that_start_at_once_note_a_change_once(url: str) -> None:
    documents = open_documents(url)
    audit = DocumentAudit(documents)
    note_config(audit, documents, settings(), 1)
    changed, noted, gate = settings(BUDGET % "10 USD / day"), list[int](), threading.Barrier(4)

    def start(now_ns: int) -> None:
        gate.wait(10)
        noted.append(note_config(DocumentAudit(open_documents(url)), open_documents(url), changed, now_ns))

    threads = [threading.Thread(target=start, args=(now_ns,)) for now_ns in range(2, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(noted) == [0, 0, 0, 1]
    assert [entry.subject for entry in audit.since()] == ["firm"]


def test_a_change_that_was_seen_but_not_written_is_made_up_for(url: str) -> None:
    documents = open_documents(url)
    audit = DocumentAudit(documents)

    class Dying:
        """An audit log of a controller that is killed before it writes."""

        def write(self, entry: AuditEntry) -> None:
            raise KeyboardInterrupt

        def since(self, at_ns: int = 0, limit: int | None = None) -> list[AuditEntry]:
            return []

    note_config(audit, documents, settings(), 1)
    with pytest.raises(KeyboardInterrupt):
        note_config(Dying(), documents, settings(BUDGET % "10 USD / day"), 2)
    assert audit.since() == []
    note_config(audit, documents, settings(BUDGET % "10 USD / day"), 3)
    assert [(entry.action, entry.at_ns) for entry in audit.since()] == [("budget.add", 2)]
