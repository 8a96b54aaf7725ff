"""A ledger with objectives over it: records are written by hand, time is told, and what objectives say is kept in lists."""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from penstock import bootstrap
from penstock.adapters.stores import open_documents, open_store
from penstock.adapters.stores.audit import DocumentAudit
from penstock.adapters.stores.directives import DocumentDirectives
from penstock.config.load import load
from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.entries import HOUR_NS
from penstock.domain.prices.hardware import Steps
from penstock.finops.books import Books
from penstock.finops.ledger import Ledger
from penstock.finops.objectives.chore import ObjectiveKeeper
from penstock.finops.objectives.measuring import objectives
from penstock.finops.objectives.report import slos_json
from penstock.finops.objectives.telling import Tell
from penstock.ports.audit_log import AuditEntry
from penstock.ports.directives import Directive
from penstock.ports.notifier import Message
from penstock.ports.usage_store import Intake
from tests.ledger_entries import record

T0 = 491_000 * HOUR_NS
MINUTE = 60 * 10**9
CHEAP, DEAR = 15_000, 150_000
"""nano-USD of a request of 10 and 5 tokens"""
CONFIG = """
version = 1
[server]
store = "{url}"
[upstreams.api]
base_urls = ["http://127.0.0.1:9/v1"]
[models.cheap]
upstream = "api"
price = {{ input = 1, output = 1 }}
[models.dear]
upstream = "api"
price = {{ input = 10, output = 10 }}
[models.free]
upstream = "api"
[tiers]
small = {{ model = "cheap" }}
large = {{ model = "dear" }}
[notify.finops]
kind = "webhook"
url = "http://127.0.0.1:9/hook"
{slos}
"""


class Site:
    """Objectives over a ledger. `now` is the instant of the next step."""

    def __init__(self, url: str, folder: Path, slos: str, **runs: Steps) -> None:
        self.url, self.folder, self.runs, self.now = url, folder, runs, T0 + HOUR_NS
        self.store = open_store(url)
        self.store.prepare()
        self.documents = open_documents(url)
        self.directives = DocumentDirectives(self.documents)
        self.messages: list[tuple[tuple[str, ...], Message]] = []
        self.log: list[str] = []
        self._ids = itertools.count()
        self.configure(slos)

    def configure(self, slos: str) -> None:
        """Another config, and a controller that has just started with it."""
        file = self.folder / "penstock.toml"
        file.write_text(CONFIG.format(url=self.url, slos=slos))
        self.settings = load(file, {})
        self.prices = bootstrap.price_book(self.settings)
        self.restart()

    def restart(self) -> None:
        """Another controller, which knows nothing but what stands in the store."""
        tell = Tell(DocumentAudit(self.documents), self, self.log.append)
        self.keeper = ObjectiveKeeper(
            objectives(self.settings), self.books, self.prices, self.documents, self.directives, tell, clock=lambda: self.now / 1e9
        )

    def close(self) -> None:
        self.store.close()

    def send(self, recipients: Sequence[str], message: Message) -> int:
        """The outbox: tells everything once."""
        if recipients and message.id not in {each.id for _, each in self.messages}:
            self.messages.append((tuple(recipients), message))
        return len(recipients)

    @contextmanager
    def books(self, now_ns: int) -> Iterator[Books]:
        with self.store.snapshot() as snapshot:
            yield Books(self.settings, Ledger(snapshot), now_ns, lambda name: self.runs.get(name))

    def calls(self, count: int, model: str = "dear", *, ago_s: float = 30, **fields: Any) -> None:
        """So many requests that were answered a while ago."""
        given: dict[str, Any] = {"model": model, "upstream": "api", "tokens": Tokens(10, 0, 0, 5, 0)}
        given["cost"] = given["list_cost"] = {"cheap": CHEAP, "dear": DEAR}.get(model)
        at = self.now - round(ago_s * 10**9)
        self.store.take_in(Intake([record(f"r{next(self._ids)}", admitted_ns=at, **given | fields) for _ in range(count)], (), (), {}))

    def step(self, after: int = 0) -> None:
        """An evaluation, so long after the one before."""
        self.now += after
        self.keeper.step(self.now)

    def standing(self) -> list[Directive]:
        return list(self.directives.standing(self.now))

    def audit(self, action: str = "") -> list[AuditEntry]:
        """Entries whose action begins so, oldest first."""
        return [each for each in reversed(DocumentAudit(self.documents).since()) if each.action.startswith(action)]

    def told(self, *, would: bool = False) -> dict[str, Any]:
        with self.books(self.now) as books:
            return slos_json(books, self.prices, self.documents, 0, would=would)
