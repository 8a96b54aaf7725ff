"""Which controller of several on one store leads."""

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from penstock.bootstrap.ledger import open_documents
from penstock.bootstrap.sharing import host_of
from penstock.config.settings import Settings

if TYPE_CHECKING:
    from penstock.finops.leading import Leader


def open_leader(settings: Settings, log: Callable[[str], None]) -> "Leader":
    """This host's part in who leads, not begun yet. Raises `StoreError` for a store of no known kind, `JournalError`."""
    from penstock.finops.leading import Leader

    return Leader(open_documents(settings), host_name(settings), log)


def host_name(settings: Settings) -> str:
    """What a controller is called among several: no two living ones share a journal. Raises `JournalError`."""
    return f"{socket.gethostname()}/{host_of(settings)}"
