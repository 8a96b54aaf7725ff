"""The one place where plugs meet sockets: settings in, wired planes out. Heavy imports happen where they are needed."""

from penstock.bootstrap.ledger import open_allocator, open_books, open_costs, open_keys, open_reading, open_store, runs_file
from penstock.bootstrap.meters import open_telemetry
from penstock.bootstrap.planes import controller_socket, log, open_traces, providers, run_controller, run_worker, upstream
from penstock.bootstrap.prices import own_prices, price_book, price_feed, public_name

__all__ = [
    "controller_socket",
    "log",
    "open_allocator",
    "open_books",
    "open_costs",
    "open_keys",
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
