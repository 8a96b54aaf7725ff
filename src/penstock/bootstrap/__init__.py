"""The one place where plugs meet sockets: settings in, wired planes out. Heavy imports happen where they are needed."""

from penstock.bootstrap.anomalies import open_anomalies
from penstock.bootstrap.audit import key_budgets, key_keeper, open_audit
from penstock.bootstrap.control_plane import open_traces, providers, run_controller
from penstock.bootstrap.data_plane import run_worker, upstream
from penstock.bootstrap.ledger import open_allocator, open_books, open_costs, open_documents, open_keys, open_reading, open_store, runs_file
from penstock.bootstrap.meters import open_telemetry
from penstock.bootstrap.notifying import open_notifiers, open_outbox
from penstock.bootstrap.prices import own_prices, price_book, price_feed, public_name
from penstock.bootstrap.processes import controller_socket, log
from penstock.bootstrap.sharing import ask_book, begin_sharing

__all__ = [
    "ask_book",
    "begin_sharing",
    "controller_socket",
    "key_budgets",
    "key_keeper",
    "log",
    "open_allocator",
    "open_anomalies",
    "open_audit",
    "open_books",
    "open_costs",
    "open_documents",
    "open_keys",
    "open_notifiers",
    "open_outbox",
    "open_reading",
    "open_store",
    "open_telemetry",
    "open_traces",
    "own_prices",
    "price_book",
    "price_feed",
    "providers",
    "public_name",
    "run_controller",
    "run_worker",
    "runs_file",
    "upstream",
]
