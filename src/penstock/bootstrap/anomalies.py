"""Anomalies by the settings: the watch, and the book that they are kept in."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from penstock.bootstrap.ledger import open_books, open_documents
from penstock.bootstrap.notifying import console_link
from penstock.config.settings import Settings

if TYPE_CHECKING:
    from penstock.finops.anomalies.book import AnomalyBook
    from penstock.finops.anomalies.chore import AnomalyWatch, Post
    from penstock.finops.books import Books


def open_anomalies(settings: Settings) -> "AnomalyBook":
    """Anomalies that were found, and what people said of them. Raises `StoreError`."""
    from penstock.finops.anomalies.book import AnomalyBook

    return AnomalyBook(open_documents(settings))


def anomaly_watch(
    settings: Settings,
    post: "Post",
    log: Callable[[str], None],
    books: "Callable[[int], AbstractContextManager[Books]] | None" = None,
) -> "AnomalyWatch":
    """The chore that watches every series, for the controller that leads; `post` is the outbox. Every `[notify.*]` is told.
    Raises `StoreError`."""
    from penstock.finops.anomalies.chore import AnomalyWatch

    read = books or (lambda now_ns: open_books(settings, now_ns))
    return AnomalyWatch(read, open_anomalies(settings), post, tuple(settings.notify), log, console_link(settings, "/"))
