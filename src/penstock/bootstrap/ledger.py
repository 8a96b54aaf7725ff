"""The ledger by its settings: the store and its archive, the journal beside it, and what is made from them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.config.settings import Settings

if TYPE_CHECKING:
    from penstock.domain.prices.hardware import Steps
    from penstock.finops.allocator import Allocator
    from penstock.finops.books import Books
    from penstock.finops.sealing import Sealer
    from penstock.ports.cost_store import CostStore
    from penstock.ports.documents import Documents
    from penstock.ports.evidence import EvidenceStore
    from penstock.ports.journal import JournalReader
    from penstock.ports.key_store import KeyStore
    from penstock.ports.usage_store import Snapshot, UsageStore


def usage_store(settings: Settings, *, read_only: bool = False) -> "UsageStore":
    """The store of the ledger with its archive behind it, nothing touched yet. Raises `StoreError`."""
    from penstock.adapters.stores import open_store

    store = open_store(settings.server.store, read_only=read_only)
    if settings.archive.url is None:
        return store
    from penstock.adapters.archive import archived

    return archived(store, settings.archive.url, settings.server.store)


def open_store(settings: Settings) -> "UsageStore":
    """The store of the ledger, schema in place. Raises `StoreError`."""
    store = usage_store(settings)
    store.prepare()
    return store


def open_keys(settings: Settings) -> "KeyStore":
    """The key store. Raises `StoreError`."""
    from penstock.adapters.stores import open_keys

    return open_keys(settings.server.store)


def open_documents(settings: Settings) -> "Documents":
    """The small documents that hosts share. Raises `StoreError`."""
    from penstock.adapters.stores import open_documents

    return open_documents(settings.server.store)


def open_evidence(settings: Settings) -> "EvidenceStore":
    """The evidence of what routing loses. Raises `StoreError`."""
    from penstock.adapters.stores import open_evidence

    return open_evidence(settings.server.store)


def open_costs(settings: Settings) -> "CostStore":
    """What writes the other rows of the ledger. Raises `StoreError`."""
    from penstock.adapters.stores import open_costs

    return open_costs(settings.server.store)


@contextmanager
def open_reading(settings: Settings) -> Iterator[tuple["Snapshot", "JournalReader"]]:
    """A consistent view of the store and the journal beside it, for reports. Raises `StoreError`."""
    from penstock.adapters.journal.reader import JournalDirectory

    store = usage_store(settings, read_only=True)
    try:
        with store.snapshot() as snapshot:
            yield snapshot, JournalDirectory(settings.server.journal)
    finally:
        store.close()


@contextmanager
def open_books(settings: Settings, now_ns: int) -> Iterator["Books"]:
    """What reports are made from: store and journal in one view, and when fleets ran. Raises `StoreError`."""
    from penstock.finops.books import Books
    from penstock.finops.intake import pending
    from penstock.finops.ledger import Ledger

    with open_reading(settings) as (snapshot, reader):
        yield Books(settings, Ledger(snapshot, pending(reader, snapshot)), now_ns, runs_of(settings))


@contextmanager
def open_allocator(settings: Settings) -> Iterator["Allocator"]:
    """What closes the hours of own fleets, as the controller does. Raises `StoreError`."""
    store = open_store(settings)
    try:
        yield allocator(settings, store)
    finally:
        store.close()


def allocator(settings: Settings, store: "UsageStore", runs: "Callable[[str], Steps | None] | None" = None) -> "Allocator":
    """Closes hours of the ledger in `store`."""
    from penstock.finops.allocator import Allocator

    return Allocator(settings, store, open_costs(settings), runs or runs_of(settings))


def sealer(settings: Settings, store: "UsageStore", log: Callable[[str], None]) -> "Sealer | None":
    """Moves old days into the archive; None where none is named. Raises `StoreError`."""
    if settings.archive.url is None:
        return None
    from penstock.adapters.archive import open_archive
    from penstock.finops.sealing import Sealer

    archive = open_archive(settings.archive.url, settings.server.store)
    return Sealer(store, archive, settings.archive.after, log, lambda: settings.fleets)


def runs_of(settings: Settings, log: Callable[[str], None] | None = None) -> "Callable[[str], Steps | None]":
    """When fleets ran whose `runs` names a file; None: the file tells nothing of it, or cannot be read, which `log` is told.

    A file is read again when it has changed.
    """
    known: dict[str, tuple[object, Steps | None]] = {}

    def steps(name: str) -> "Steps | None":
        fleet = settings.fleets[name]
        if fleet.runs in (None, "prometheus"):
            return None
        stamp = _stamp(Path(fleet.runs or ""))
        if name not in known or known[name][0] != stamp:
            found, problem = runs_file(settings, name)
            if problem is not None and log is not None:
                log(f"error: fleets.{name}.runs: {problem}; its rent is unknown until that is corrected")
            known[name] = (stamp, found)
        return known[name][1]

    return steps


def runs_file(settings: Settings, name: str) -> "tuple[Steps | None, str | None]":
    """When a fleet ran by the file that its `runs` names, and what keeps that from being read, with the file's name."""
    from penstock.adapters.bills.runs import read_runs
    from penstock.domain.units import UnitError
    from penstock.ports.bill_source import BillError

    fleet = settings.fleets[name]
    path = Path(fleet.runs or "")
    try:
        return read_runs(path, fleet.where.instance, fleet.where.region), None
    except OSError as problem:
        return None, f"{path} cannot be read: {problem.strerror}"
    except (UnitError, BillError) as problem:
        return None, str(problem) if str(problem).startswith((str(path), path.name)) else f"{path}: {problem}"


def _stamp(path: Path) -> object:
    """Another one whenever a file was written to."""
    try:
        found = path.stat()
    except OSError as problem:
        return problem.errno
    return found.st_mtime_ns, found.st_size, found.st_ino
