"""Objectives by the settings: the chore that keeps them, and the directives that stand."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from penstock.bootstrap.audit import open_audit
from penstock.bootstrap.ledger import open_books, open_documents
from penstock.bootstrap.prices import price_book
from penstock.config.settings import Settings

if TYPE_CHECKING:
    from penstock.finops.books import Books
    from penstock.finops.objectives.chore import ObjectiveKeeper
    from penstock.finops.objectives.telling import Post
    from penstock.ports.directives import Directives


def open_directives(settings: Settings) -> "Directives":
    """What objectives ask of the data plane. Raises `StoreError`."""
    from penstock.adapters.stores.directives import DocumentDirectives

    return DocumentDirectives(open_documents(settings))


def objective_keeper(
    settings: Settings,
    post: "Post",
    log: Callable[[str], None],
    books: "Callable[[int], AbstractContextManager[Books]] | None" = None,
) -> "ObjectiveKeeper":
    """Keeps `[[slos]]`, for the controller that leads; without any it ends what those of before have left. `post` is the outbox.
    Raises `StoreError`."""
    from penstock.finops.objectives.chore import ObjectiveKeeper
    from penstock.finops.objectives.measuring import objectives
    from penstock.finops.objectives.telling import Tell

    documents = open_documents(settings)
    return ObjectiveKeeper(
        objectives(settings),
        books or (lambda now_ns: open_books(settings, now_ns)),
        price_book(settings),
        documents,
        open_directives(settings),
        Tell(open_audit(settings), post, log),
    )
