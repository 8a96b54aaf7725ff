"""Objectives as they stand now, for the command, the console and programs: measured on the ledger, nothing written."""

from collections.abc import Sequence
from typing import Any

import msgspec

from penstock.domain.prices.book import PriceBook
from penstock.finops.books import Books
from penstock.finops.objectives.accounts import load_account
from penstock.finops.objectives.chore import evaluated
from penstock.finops.objectives.effects import effect
from penstock.finops.objectives.episodes import Episode, episode_json, open_episodes, past_episodes
from penstock.finops.objectives.measuring import Objective, objectives
from penstock.finops.objectives.responding import responses
from penstock.finops.objectives.telling import readings_json
from penstock.finops.window import iso
from penstock.ports.documents import Documents


def slos_json(books: Books, prices: PriceBook, documents: Documents, since_ns: int, *, would: bool = False) -> dict[str, Any]:
    """Every objective with the responses that stand, and the responses that have ended and began from an instant on, newest first.

    What responses saved is told as of now, also of those that have just ended: their last requests have their records by now.
    `would`: also what each objective would do if it were missed now. Raises `StoreError`.
    """
    opened = open_episodes(documents)
    mine = objectives(books.settings)
    return {
        "objectives": [
            _objective_json(books, prices, documents, each, [one for one in opened if one.objective == each.name], would) for each in mine
        ],
        "ended": [_told(books, prices, each) for each in past_episodes(documents, since_ns)],
    }


def _objective_json(
    books: Books, prices: PriceBook, documents: Documents, objective: Objective, episodes: Sequence[Episode], would: bool
) -> dict[str, Any]:
    before = load_account(documents, objective.name)
    account, _ = evaluated(books, objective, before)
    course = account.course if before is None else before.course
    told: dict[str, Any] = {
        "objective": objective.name,
        "metric": objective.slo.metric,
        "where": objective.slo.where,
        "window_seconds": float(objective.slo.window),
        "state": account.state,
        "missed_since": None if course.missed_ns is None or account.state != "missed" else iso(course.missed_ns),
        "acting": course.acting and before is not None,
        "dry_run": objective.slo.dry_run,
        "evaluated": None if before is None else iso(before.at_ns),
        **readings_json(objective, account),
        "respond": list(objective.slo.respond),
        "responses": [_told(books, prices, each) for each in episodes],
    }
    if would:
        told["would"] = [episode_json(each) for each in responses(books, prices, objective, books.now_ns)]
    return told


def _told(books: Books, prices: PriceBook, episode: Episode) -> dict[str, Any]:
    if episode.settled:
        return episode_json(episode)
    found = effect(books, prices, episode)
    return episode_json(msgspec.structs.replace(episode, measured=found.saved, measured_note=found.note))
