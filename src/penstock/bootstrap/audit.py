"""Keys and the audit log by the settings, and who may do what over HTTP."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from penstock.bootstrap.anomalies import open_anomalies
from penstock.bootstrap.ledger import open_costs, open_documents, open_evidence, open_keys, open_reading
from penstock.config.checks_server import metrics_keyed
from penstock.config.secrets import reveal
from penstock.config.settings import Settings

if TYPE_CHECKING:
    from penstock.bootstrap.simulation_child import Simulations
    from penstock.console.access import Access
    from penstock.console.context import Papers
    from penstock.console.posting import Table
    from penstock.finops.budgets.of_keys import KeyBudgets
    from penstock.finops.keys import Keys
    from penstock.finops.recording import Recorded
    from penstock.ports.audit_log import AuditLog
    from penstock.wire.message import Request


def open_audit(settings: Settings) -> "AuditLog":
    """The audit log that hosts share. Raises `StoreError`."""
    from penstock.adapters.stores.audit import DocumentAudit

    return DocumentAudit(open_documents(settings))


def open_papers(settings: Settings) -> "Papers":
    """What the console reads beside the ledger. Raises `StoreError`."""
    from penstock.bootstrap.simulating import catalogued
    from penstock.console.context import Papers

    return Papers(
        open_documents(settings), open_audit(settings), key_budgets(settings), evidence=open_evidence(settings), catalogued=catalogued
    )


def key_budgets(settings: Settings) -> "KeyBudgets":
    """The budgets of keys, to be looked at again and again. Raises `StoreError`."""
    from penstock.finops.budgets.of_keys import KeyBudgets

    return KeyBudgets(open_keys(settings).all)


def key_keeper(settings: Settings) -> "Keys":
    """What makes, replaces and revokes keys. Raises `StoreError`."""
    from penstock.finops.keys import Keys

    return Keys(settings, open_keys(settings))


def access_of(settings: Settings, environ: Mapping[str, str]) -> "Access":
    """Who may look at the console and at `/metrics`. Raises `ConfigError` when a key is not set."""
    from penstock.console.access import Access

    auth = settings.auth
    admin = None if auth.admin_key is None else reveal(auth.admin_key, environ, "auth.admin_key")
    metrics = None if auth.metrics_key is None else reveal(auth.metrics_key, environ, "auth.metrics_key")
    return Access(admin, settings.server.listen, metrics_key=metrics, open_metrics=not metrics_keyed(settings))


def console_tables(settings: Settings, access: "Access", simulations: "Simulations") -> "tuple[Table, Table]":
    """What may be posted to the console, and what may be read beside its pages. Raises `StoreError`."""
    from penstock.console.feedback import anomaly_posts
    from penstock.console.keys import key_posts, key_reads
    from penstock.console.recording import record_posts
    from penstock.console.simulation_form import simulation_posts
    from penstock.finops.audit import cost_recorded
    from penstock.finops.recording import Recorder

    audit, keys = open_audit(settings), key_keeper(settings)

    def noted(done: "Recorded", request: "Request") -> None:
        audit.write(cost_recorded(done.entry, access.actor(request), time.time_ns()))

    recorder = Recorder(settings, lambda: open_reading(settings), lambda: open_costs(settings))
    said = anomaly_posts(open_anomalies(settings), audit, access.actor)
    posts = {**record_posts(recorder, noted), **key_posts(keys, access.actor), **said, **simulation_posts(simulations.run)}
    return posts, key_reads(keys, audit, settings.server.timezone)
