"""Entries of the cache as people look for them: by words of the question, by tags, by scope, by id."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from penstock.domain.dialects.content import normal_tag
from penstock.domain.units import format_usd
from penstock.finops.caching.standing import Kept, Standing
from penstock.finops.window import iso

SHORTEST_ID = 8
"""characters of an id that may stand for it"""


class FindError(Exception):
    """What was asked for names no entry, or more than one; `hint` says what would."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What entries have to be like; what is not given, any is."""

    text: str | None = None
    """a part of the question, or words that all stand in it"""
    where: Mapping[str, str] = {}
    """tags, or `model`, `upstream`, `tier`, `user`, `scope`"""
    ids: tuple[str, ...] = ()
    """ids, or enough of their beginnings"""
    scope: str | None = None
    model: str | None = None

    @property
    def everything(self) -> bool:
        """Whether nothing is asked of them."""
        return self == Wanted()


def found(standing: Standing, wanted: Wanted) -> list[Kept]:
    """Entries that are so: what has the text as it is before what only has its words, then those that served most."""
    scored = [(score, kept) for kept in standing.kept.values() if (score := _score(kept, wanted)) is not None]
    return [kept for _, kept in sorted(scored, key=lambda pair: (-pair[0], -pair[1].served, -pair[1].at_ns, pair[1].id))]


def one(standing: Standing, id: str) -> Kept:
    """The entry of that id, or the only one whose id begins so. Raises `FindError`."""
    if (kept := standing.kept.get(id)) is not None:
        return kept
    begun = [kept for kept in standing.kept.values() if len(id) >= SHORTEST_ID and kept.id.startswith(id)]
    if len(begun) == 1:
        return begun[0]
    if begun:
        some = ", ".join(sorted(kept.id for kept in begun)[:5])
        raise FindError(f"{len(begun)} entries of the cache start with `{id[:60]}`", f"write more of the id: {some}")
    raise FindError(f"the cache has no entry `{id[:60]}`", "`penstock cache find` lists them; one whose time is over is gone")


def age_words(ns: int) -> str:
    """Nanoseconds as `12 s`, `5 min`, `3 h 20 min`, `2 d 4 h`."""
    seconds = max(ns, 0) // 10**9
    if seconds < 60:
        return f"{seconds} s"
    days, hours, minutes = seconds // 86_400, seconds // 3600 % 24, seconds // 60 % 60
    parts = [(days, "d"), (hours, "h"), (minutes if not days else 0, "min")]
    return " ".join(f"{count} {unit}" for count, unit in parts if count)


def kept_json(kept: Kept, now_ns: int) -> dict[str, Any]:
    """An entry as commands show it: times ISO 8601 in UTC, money as a decimal string of USD."""
    entry = kept.entry
    told: dict[str, Any] = {
        "id": kept.id,
        "scope": kept.scope,
        "at": iso(kept.at_ns),
        "age_s": max(now_ns - kept.at_ns, 0) // 10**9,
        "expires": None if kept.curated else iso(kept.expires_ns),
        "served": kept.served,
        "worth_usd": format_usd(kept.worth),
        "bytes": kept.size,
        "curated": kept.curated,
    }
    if entry is not None:
        told |= {
            "question": entry.text,
            "model": entry.model,
            "upstream": entry.upstream,
            "tier": entry.tier,
            "user": entry.tags.get("user") or entry.user,
            "users": len({entry.user, *entry.users} - {None}),
            "tags": entry.tags,
            "embedder": entry.embedder,
        }
    return told


def _score(kept: Kept, wanted: Wanted) -> int | None:
    """How well an entry fits; None: it does not."""
    entry = kept.entry
    if wanted.ids and not any(kept.id == id or (len(id) >= SHORTEST_ID and kept.id.startswith(id)) for id in wanted.ids):
        return None
    if wanted.scope is not None and wanted.scope not in (kept.scope, *kept.scope.split(" ")):
        return None
    if entry is None:
        return None if wanted.text or wanted.where or wanted.model else 0
    if wanted.model is not None and wanted.model != entry.model:
        return None
    if any(_value(kept, name) != value for name, value in wanted.where.items()):
        return None
    return 0 if wanted.text is None else _text_score(_folded(entry.text), _folded(wanted.text))


def _value(kept: Kept, name: str) -> str | None:
    entry = kept.entry
    if entry is None:
        return None
    own = {"model": entry.model, "upstream": entry.upstream, "tier": entry.tier, "scope": kept.scope}
    tag = normal_tag(name)
    if tag in own:
        return own[tag]
    return entry.tags.get(tag, entry.user if tag == "user" else None)


def _text_score(question: str, text: str) -> int | None:
    if text in question:
        return 2
    words = set(_words(question))
    return 1 if all(word in words for word in _words(text)) else None


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _words(text: str) -> Iterable[str]:
    return "".join(char if char.isalnum() else " " for char in text).split()
