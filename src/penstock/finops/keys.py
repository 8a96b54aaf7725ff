"""The law of API keys, which the command line and HTTP share: what a key may be, who made it, how it is replaced and revoked.

A rotated key has a new id and a new secret, and the tags, models, tiers and limits of the old one. Both count against one account: what
a key may spend does not double because it was replaced.
"""

import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from penstock.config.checks_spending import MOST_EXACT_USD
from penstock.config.limits import parse_limit, parse_rate
from penstock.config.problems import nearest
from penstock.config.settings import Settings
from penstock.domain.units import Duration, UnitError
from penstock.finops.audit import audit_entry
from penstock.finops.told_tags import TagError, told_tags
from penstock.finops.window import iso
from penstock.ports.key_store import ApiKey, KeyStore, fingerprint

PREFIX = "psk_"
SHOWN = len(PREFIX) + 6
GRACE = "24h"
LONGEST_NAME = 100
LONGEST_S = 100 * 366 * 86_400
"""how far ahead a key may expire"""


class KeyProblem(ValueError):
    """What cannot be done; `hint` says what can. `kind`: the words are wrong, there is no such key, or it stands against it."""

    def __init__(self, message: str, hint: str, kind: Literal["input", "missing", "conflict"] = "input") -> None:
        super().__init__(message)
        self.hint = hint
        self.kind = kind


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key that somebody asks for: the options of `penstock keys create`, the body of `POST /keys`."""

    name: str | None = None
    tags: dict[str, str] = {}
    models: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ()
    expires: str | None = None
    requests: str | None = None
    tokens: str | None = None
    concurrent: int | None = None
    budget: str | None = None


class Rotation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a key is replaced: how long the old one still works, and the new one. Unset `expires`: as long as the old one was made for."""

    grace: str = GRACE
    expires: str | None = None


class Made(msgspec.Struct, frozen=True):
    """A new key and its secret, which is known here and now only."""

    secret: str
    key: ApiKey


class Keys:
    """Makes, replaces and revokes keys; each change stands in the audit log with who did it. Raises `KeyProblem`, `StoreError`."""

    def __init__(self, settings: Settings, store: KeyStore, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._settings, self._store, self._clock_ns = settings, store, clock_ns

    def listed(self) -> list[ApiKey]:
        """Every key, revoked ones too, oldest first."""
        return self._store.all()

    def make(self, asked: Asked, actor: str, *, dry_run: bool = False) -> Made:
        """A new key; with `dry_run` one that is not kept."""
        now_ns = self._clock_ns()
        made = _drawn(now_ns, **_checked(asked, self._settings, now_ns))
        if not dry_run:
            noted = audit_entry(actor, "key.create", made.key.id, now_ns, _told(made.key))
            self._store.add(made.key, noted)
        return made

    def revoke(self, key_id: str, actor: str, *, dry_run: bool = False) -> ApiKey:
        """The key, refused for good from now on: running workers know it within seconds."""
        key, now_ns = self.find(key_id), self._clock_ns()
        noted = audit_entry(actor, "key.revoke", key_id, now_ns, _named(key))
        if key.revoked_ns is not None or not (dry_run or self._store.revoke(key_id, now_ns, noted)):
            raise KeyProblem(f"{key_id} was revoked before", "nothing is left to do: see `penstock keys list`", "conflict")
        return key if dry_run else msgspec.structs.replace(key, revoked_ns=now_ns)

    def rotate(self, key_id: str, asked: Rotation, actor: str, *, dry_run: bool = False) -> tuple[Made, ApiKey]:
        """The key that takes its place, and the old one as it is then."""
        old, now_ns = self.find(key_id), self._clock_ns()
        _refuse_ended(old)
        until_ns = now_ns + _span_ns(asked.grace, "grace", least=0)
        if old.expires_ns is not None:
            until_ns = min(until_ns, old.expires_ns)
        made = _drawn(
            now_ns, name=old.name, tags=old.tags, models=old.models, tiers=old.tiers, requests=old.requests, tokens=old.tokens,
            concurrent=old.concurrent, budget=old.budget, account=old.account, replaces=old.id, expires_ns=_again(old, asked, now_ns),
        )  # fmt: skip
        told = {"replaced_by": made.key.id, "works_until": _instant(until_ns), **_told(made.key)}
        noted = audit_entry(actor, "key.rotate", old.id, now_ns, told)
        if not dry_run and not self._store.rotate(old.id, made.key, until_ns, noted):
            _refuse_ended(self.find(key_id))
            raise KeyProblem(f"{key_id} has changed at this moment", "try again", "conflict")
        return made, msgspec.structs.replace(old, replaced_by=made.key.id, rotated_ns=now_ns, expires_ns=until_ns)

    def find(self, key_id: str) -> ApiKey:
        """The key of that id."""
        known = {key.id: key for key in self.listed()}
        if key_id not in known:
            hint = nearest(key_id, list(known)[-5:], "see `penstock keys list`")
            raise KeyProblem(f"there is no key `{key_id[:100]}`", hint, "missing")
        return known[key_id]


def key_json(key: ApiKey, now_ns: int) -> dict[str, Any]:
    """What may be shown of a key; times are ISO 8601 in UTC, seconds."""
    expired = key.expires_ns is not None and key.expires_ns <= now_ns
    return {
        "id": key.id,
        "name": key.name,
        "prefix": key.prefix,
        "state": "revoked" if key.revoked_ns is not None else "expired" if expired else "active",
        "tags": key.tags,
        "models": list(key.models),
        "tiers": list(key.tiers),
        "requests": key.requests,
        "tokens": key.tokens,
        "concurrent": key.concurrent,
        "budget": key.budget,
        "account": key.account,
        "created": _instant(key.created_ns),
        "expires": _instant(key.expires_ns),
        "revoked": _instant(key.revoked_ns),
        "rotated": _instant(key.rotated_ns),
        "replaced_by": key.replaced_by,
        "replaces": key.replaces,
    }


def _drawn(now_ns: int, **fields: Any) -> Made:
    """A key with these fields, and a secret of 192 random bits."""
    secret = PREFIX + secrets.token_hex(24)
    id = "key_" + secrets.token_hex(4)
    return Made(secret, ApiKey(id=id, prefix=secret[:SHOWN], sha256=fingerprint(secret), created_ns=now_ns, **fields))


def _checked(asked: Asked, settings: Settings, now_ns: int) -> dict[str, Any]:
    """The fields of a key that may be. Raises `KeyProblem`."""
    tiers = _known(asked.tiers, settings.tiers, "tier", "add it to [tiers]")
    models = _known(asked.models, [*settings.models, *settings.routes], "model or route", "add it to the configuration")
    for name in models:
        if tiers and not _tiers_of(name, settings) & {*tiers}:
            raise KeyProblem(f"`{name}` can be answered by none of these tiers: {', '.join(tiers)}", "leave the model out, or add its tier")
    if asked.concurrent is not None and asked.concurrent < 1:
        raise KeyProblem("a key that may have no request under way is of no use", "write `concurrent` as 1 or more, or leave it out")
    expires = None if asked.expires is None else now_ns + _span_ns(asked.expires, "expires", least=1)
    return {
        "name": _name(asked.name),
        "tags": _tags(asked.tags, settings),
        "models": models,
        "tiers": tiers,
        "expires_ns": expires,
        "requests": _rate(asked.requests, "requests"),
        "tokens": _rate(asked.tokens, "tokens"),
        "concurrent": asked.concurrent,
        "budget": _budget(asked.budget),
    }


def _name(given: str | None) -> str | None:
    name = None if given is None else given.strip()
    if name is not None and (not name or len(name) > LONGEST_NAME or not name.isprintable()):
        raise KeyProblem(f"`name` must be one line of 1 to {LONGEST_NAME} characters", "name it like `ci`")
    return name


def _tags(given: Mapping[str, str], settings: Settings) -> dict[str, str]:
    try:
        return told_tags(given, settings)
    except TagError as problem:
        raise KeyProblem(str(problem), problem.hint) from None


def _known(given: Sequence[str], known: Mapping[str, Any] | Sequence[str], what: str, otherwise: str) -> tuple[str, ...]:
    for name in given:
        if name not in known:
            raise KeyProblem(f"there is no {what} `{name[:100]}`", nearest(name[:100], known, otherwise))
    return tuple(dict.fromkeys(given))


def _tiers_of(name: str, settings: Settings) -> set[str]:
    """The tiers that may answer for a model or a route."""
    if (route := settings.routes.get(name)) is None:
        return {tier for tier, given in settings.tiers.items() if given.model == name}
    return {*route.tiers}.union(*({each} if each in settings.tiers else _tiers_of(each, settings) for each in route.fallback))


def _rate(text: str | None, word: str) -> str | None:
    if text is None:
        return None
    try:
        parse_rate(text)
    except UnitError as problem:
        raise _unreadable(word, problem) from None
    return text.strip()


def _budget(text: str | None) -> str | None:
    """A cap of its own, in USD: GPU-hours are a matter of fleets, so of [[budgets]]."""
    if text is None:
        return None
    try:
        limit = parse_limit(text)
    except UnitError as problem:
        raise _unreadable("budget", problem) from None
    if limit.unit != "USD":
        raise KeyProblem("the budget of a key is in USD", "for GPU-hours, bind a tag to the key and write a [[budgets]] for that tag")
    if limit.amount > MOST_EXACT_USD:
        raise KeyProblem(f"a cap above {MOST_EXACT_USD:,} USD would not be exact", "leave `budget` out, or make several keys")
    return text.strip()


def _span_ns(text: str, word: str, *, least: int) -> int:
    """Nanoseconds of a duration between `least` and a hundred years."""
    try:
        seconds = Duration.parse(text)
    except UnitError as problem:
        raise _unreadable(word, problem) from None
    if seconds > LONGEST_S:
        raise KeyProblem(f"`{word}`: {text} is longer than a hundred years", "leave it out: the key then never expires")
    nanos = round(seconds * 10**9)
    if nanos < least:
        raise KeyProblem("a key that has expired already is of no use", f"write a time above 0, such as `{word} 90d`")
    return nanos


def _unreadable(word: str, problem: UnitError) -> KeyProblem:
    what, _, how = str(problem).partition(": ")
    return KeyProblem(f"`{word}`: {what}", how)


def _again(old: ApiKey, asked: Rotation, now_ns: int) -> int | None:
    """When the successor expires."""
    if asked.expires is not None:
        return now_ns + _span_ns(asked.expires, "expires", least=1)
    return None if old.expires_ns is None else now_ns + max(1, old.expires_ns - old.created_ns)


def _refuse_ended(key: ApiKey) -> None:
    if key.revoked_ns is not None:
        raise KeyProblem(f"{key.id} was revoked", "make a new key: `penstock keys create`", "conflict")
    if key.replaced_by is not None:
        raise KeyProblem(f"{key.id} was replaced before, by {key.replaced_by}", f"rotate that one: {key.replaced_by}", "conflict")


def _named(key: ApiKey) -> dict[str, Any]:
    """What people recognise a key by."""
    told = {"name": key.name, "prefix": key.prefix, "tags": key.tags}
    return {word: value for word, value in told.items() if value}


def _told(key: ApiKey) -> dict[str, Any]:
    """What the audit log keeps of a new key: what it may do, and neither its secret nor the hash of it."""
    told = {
        "models": list(key.models), "tiers": list(key.tiers), "requests": key.requests, "tokens": key.tokens,
        "concurrent": key.concurrent, "budget": key.budget, "expires": _instant(key.expires_ns),
    }  # fmt: skip
    return _named(key) | {word: value for word, value in told.items() if value}


def _instant(ns: int | None) -> str | None:
    return None if ns is None else iso(ns // 10**9 * 10**9)


def body_of(data: bytes, kind: type[Any]) -> Any:
    """What stands in a JSON object; nothing is an empty one. Raises `KeyProblem`."""
    try:
        return msgspec.json.decode(data or b"{}", type=kind)
    except msgspec.ValidationError as problem:
        text = str(problem)
        unknown = re.search(r"unknown field `(.*?)`", text)
        hint = nearest(unknown[1], kind.__struct_fields__, "") if unknown else "it looks like the options of `penstock keys create`"
        raise KeyProblem(text[:1].lower() + text[1:], hint) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise KeyProblem(f"this is not JSON: {problem}", 'send an object such as {"tags": {"team": "search"}}') from None
