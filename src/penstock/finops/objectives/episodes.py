"""One response from its begin to its end: what it asked for, what it was expected to bring, and what it brought."""

from collections.abc import Sequence
from typing import Any

import msgspec

from penstock.domain.units import format_usd
from penstock.finops.window import iso
from penstock.ports.directives import Directive, Response
from penstock.ports.documents import Document, Documents

OPEN, ENDED = "response_open", "response"
STANDS_NS = 3 * 60 * 10**9
"""how long a directive stands without being renewed"""


class Episode(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One response of an objective. Money is nano-USD, None is unknown, and the notes say why, or what the figure covers."""

    id: str
    objective: str
    kind: Response
    argument: str = ""
    where: dict[str, str] = {}
    since_ns: int
    ended_ns: int | None = None
    dry_run: bool = False
    """it was only said"""
    expected: int | None = None
    """saved over one window if traffic stays as it was"""
    expected_note: str = ""
    measured: int | None = None
    measured_note: str = ""
    settled: bool = False
    """measured once more, long enough after its end for everything to have its record"""
    current_units: int | None = None
    """of a fleet to be scaled down: what ran at the begin"""
    target_units: int | None = None

    @property
    def response(self) -> str:
        """As `respond` of the config says it."""
        return f"{self.kind}:{self.argument}" if self.argument else self.kind

    def directive(self, now_ns: int) -> Directive:
        """What stands for it from now on, for a while."""
        return Directive(
            id=self.id,
            kind=self.kind,
            objective=self.objective,
            where=self.where,
            since_ns=self.since_ns,
            until_ns=now_ns + STANDS_NS,
            argument=self.argument,
            target_units=self.target_units,
        )


def episode_json(episode: Episode) -> dict[str, Any]:
    """Money as decimal strings, instants as text, unknown as null."""
    return {
        "id": episode.id,
        "objective": episode.objective,
        "response": episode.response,
        "where": episode.where,
        "dry_run": episode.dry_run,
        "since": iso(episode.since_ns),
        "ended": None if episode.ended_ns is None else iso(episode.ended_ns),
        "expected_usd": format_usd(episode.expected),
        "expected_note": episode.expected_note,
        "measured_usd": format_usd(episode.measured),
        "measured_note": episode.measured_note,
        **({"current_units": episode.current_units, "target_units": episode.target_units} if episode.kind == "scale_down" else {}),
    }


def put_episode(documents: Documents, episode: Episode) -> None:
    """Writes it down; one that has ended is no longer among those that are open. Raises `StoreError`."""
    kind = OPEN if episode.ended_ns is None else ENDED
    documents.put(Document(kind, episode.id, episode.since_ns, msgspec.json.encode(episode).decode()))
    if kind == ENDED:
        documents.remove(OPEN, episode.id)


def open_episodes(documents: Documents) -> list[Episode]:
    """Those that have not ended, oldest first. Raises `StoreError`."""
    return [_read(document) for document in reversed(documents.since(OPEN))]


def past_episodes(documents: Documents, since_ns: int = 0, limit: int | None = None) -> Sequence[Episode]:
    """Those that have ended and began from an instant on, newest first. Raises `StoreError`."""
    return [_read(document) for document in documents.since(ENDED, since_ns, limit)]


def _read(document: Document) -> Episode:
    return msgspec.json.decode(document.body, type=Episode)
