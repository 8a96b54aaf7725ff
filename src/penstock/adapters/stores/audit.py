"""The audit log, kept among the documents."""

from collections.abc import Sequence

import msgspec

from penstock.ports.audit_log import AuditEntry
from penstock.ports.documents import Document, Documents

KIND = "audit"


def document_of(entry: AuditEntry) -> Document:
    return Document(KIND, entry.id, entry.at_ns, msgspec.json.encode(entry).decode())


class DocumentAudit:
    """`ports.audit_log.AuditLog`. Nothing in it changes or removes an entry."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    def write(self, entry: AuditEntry) -> None:
        self._documents.add(document_of(entry))

    def since(self, at_ns: int = 0, limit: int | None = None) -> Sequence[AuditEntry]:
        return [msgspec.json.decode(each.body, type=AuditEntry) for each in self._documents.since(KIND, at_ns, limit)]
