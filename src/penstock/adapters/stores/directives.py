"""`ports.directives.Directives` among the documents that hosts share."""

from collections.abc import Sequence
from operator import attrgetter

import msgspec

from penstock.ports.directives import Directive
from penstock.ports.documents import Document, Documents

KIND = "directive"


class DocumentDirectives:
    """One document each, which every renewal replaces."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    def put(self, directive: Directive) -> None:
        self._documents.put(Document(KIND, directive.id, directive.since_ns, msgspec.json.encode(directive).decode()))

    def lift(self, id: str) -> None:
        self._documents.remove(KIND, id)

    def standing(self, now_ns: int) -> Sequence[Directive]:
        known = [msgspec.json.decode(document.body, type=Directive) for document in self._documents.since(KIND)]
        return sorted((each for each in known if each.until_ns > now_ns), key=attrgetter("since_ns", "id"))
