"""The law of keys: what may be asked for, what a rotation keeps, and that each change names who made it and never a secret."""

from typing import Any

import msgspec
import pytest

from penstock.adapters.stores import open_documents, open_keys
from penstock.adapters.stores.audit import DocumentAudit
from penstock.config.load import parse
from penstock.finops.keys import Asked, KeyProblem, Keys, Rotation, body_of, key_json
from penstock.ports.audit_log import AuditLog
from penstock.ports.key_store import ApiKey, fingerprint

CONFIG = """
version = 1
[tags]
allowed = { sla = ["critical", "best_effort"] }
[upstreams.u]
kind = "simulated"
[models.m]
upstream = "u"
price = { input = 1, output = 2 }
[models.d]
upstream = "u"
[tiers]
small = { model = "m" }
large = { model = "d" }
[routes.auto]
tiers = ["small"]
fallback = ["d"]
"""
SETTINGS = parse(CONFIG, {})
DAY, NOW = 86_400 * 10**9, 1_790_000_000 * 10**9


class Clock:
    def __init__(self) -> None:
        self.now_ns = NOW

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def url(tmp_path: Any) -> str:
    return f"sqlite:///{tmp_path}/ledger.db"


@pytest.fixture
def keys(url: str, clock: Clock) -> Keys:
    return Keys(SETTINGS, open_keys(url), clock)


@pytest.fixture
def audit(url: str) -> AuditLog:
    return DocumentAudit(open_documents(url))


def test_a_key_holds_what_was_asked_for(keys: Keys, audit: AuditLog) -> None:
    asked = Asked(
        name=" ci ", tags={"sla-tier": "Best-Effort", "team": "search"}, models=("auto", "auto"), tiers=("small",), expires="90d",
        requests="600 / minute", tokens=" 100000 / minute", concurrent=5, budget="50 USD / month",
    )  # fmt: skip
    made = keys.make(asked, "cli:ann")
    assert keys.listed() == [made.key]
    assert made.key.sha256 == fingerprint(made.secret) and made.secret.startswith(made.key.prefix)
    told = key_json(made.key, NOW)
    assert (told["name"], told["tags"], told["models"]) == ("ci", {"sla": "best_effort", "team": "search"}, ["auto"])
    assert (told["tiers"], told["requests"], told["tokens"]) == (["small"], "600 / minute", "100000 / minute")
    assert (told["concurrent"], told["budget"], told["account"]) == (5, "50 USD / month", told["id"])
    assert made.key.expires_ns == NOW + 90 * DAY
    [entry] = audit.since()
    assert (entry.actor, entry.action, entry.subject, entry.at_ns) == ("cli:ann", "key.create", made.key.id, NOW)
    assert entry.details["budget"] == "50 USD / month"
    assert made.secret not in repr(entry) and made.key.sha256 not in repr(entry)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"requests": "fast"}, "`requests`: `fast` is not a rate"),
        ({"tokens": "0 / minute"}, "`tokens`"),
        ({"concurrent": 0}, "no request under way"),
        ({"budget": "50 EUR / month"}, "`budget`: `50 EUR / month` is not a limit"),
        ({"budget": "5 gpu-hours / month"}, "in USD"),
        ({"budget": "10000000 USD / month"}, "would not be exact"),
        ({"tiers": ("smal",)}, "there is no tier `smal`"),
        ({"models": ("n",)}, "there is no model or route `n`"),
        ({"models": ("m",), "tiers": ("large",)}, "`m` can be answered by none of these tiers"),
        ({"expires": "0s"}, "expired already"),
        ({"expires": "99999d"}, "longer than a hundred years"),
        ({"expires": "soon"}, "`expires`: `soon` is not a duration"),
        ({"name": "a\nb"}, "`name` must be one line"),
        ({"name": " "}, "`name` must be one line"),
        ({"tags": {"sla": "urgent"}}, "may not be `urgent`"),
        ({"tags": {"team": ""}}, "is not a tag"),
        ({"tags": {"a-b": "1", "a_b": "2"}}, "given twice"),
        ({"tags": {f"t{number}": "x" for number in range(33)}}, "at most 32"),
    ],
)
def test_what_cannot_be_is_refused_with_a_hint(keys: Keys, audit: AuditLog, asked: dict[str, Any], words: str) -> None:
    with pytest.raises(KeyProblem) as caught:
        keys.make(Asked(**asked), "cli:ann")
    assert words in str(caught.value)
    assert caught.value.hint and caught.value.kind == "input"
    assert keys.listed() == [] and audit.since() == []


def test_a_fallback_counts_as_a_tier_of_its_route(keys: Keys) -> None:
    assert keys.make(Asked(models=("auto",), tiers=("large",)), "cli:ann").key.tiers == ("large",)


def test_a_rotation_keeps_all_but_the_secret(keys: Keys, clock: Clock, audit: AuditLog) -> None:
    first = keys.make(Asked(name="ci", tags={"team": "search"}, tiers=("small",), budget="5 USD / day", expires="90d"), "cli:ann")
    clock.now_ns += 10 * DAY
    second, old = keys.rotate(first.key.id, Rotation(), "http:admin")
    clock.now_ns += DAY // 2
    third, _ = keys.rotate(second.key.id, Rotation(grace="0s", expires="1d"), "http:admin")
    for made in (second, third):
        same = {"name", "tags", "models", "tiers", "requests", "tokens", "concurrent", "budget", "account"}
        assert all(getattr(made.key, field) == getattr(first.key, field) for field in same)
    assert len({first.secret, second.secret, third.secret}) == 3
    assert (old.expires_ns, second.key.expires_ns) == (NOW + 11 * DAY, NOW + 100 * DAY)
    assert third.key.expires_ns == clock.now_ns + DAY
    stored = {key.id: key for key in keys.listed()}
    assert stored[first.key.id] == old
    assert (old.replaced_by, second.key.replaces) == (second.key.id, first.key.id)
    states = [key_json(key, clock.now_ns)["state"] for key in keys.listed()]
    assert states == ["active", "expired", "active"]
    newest = audit.since()[0]
    assert (newest.action, newest.subject, newest.details["replaced_by"]) == ("key.rotate", second.key.id, third.key.id)
    assert third.secret not in repr(audit.since()) and third.key.sha256 not in repr(audit.since())


def test_what_has_ended_is_not_replaced(keys: Keys) -> None:
    first = keys.make(Asked(), "cli:ann").key
    second = keys.rotate(first.id, Rotation(), "cli:ann")[0].key
    for key_id, kind, words in ((first.id, "conflict", second.id), ("key_none", "missing", "no key")):
        with pytest.raises(KeyProblem) as caught:
            keys.rotate(key_id, Rotation(), "cli:ann")
        assert caught.value.kind == kind and words in str(caught.value)
    keys.revoke(second.id, "cli:ann")
    for act in (lambda: keys.rotate(second.id, Rotation(), "x"), lambda: keys.revoke(second.id, "x")):
        with pytest.raises(KeyProblem, match="was revoked") as caught:
            act()
        assert caught.value.kind == "conflict"
    assert len(keys.listed()) == 2


def test_two_who_rotate_at_once_make_one_key(url: str, clock: Clock) -> None:
    store = open_keys(url)
    key = Keys(SETTINGS, store, clock).make(Asked(), "cli:ann").key

    class Late:
        """A store that reads before somebody else writes."""

        def all(self) -> list[ApiKey]:
            found = store.all()
            if len(found) == 1:
                Keys(SETTINGS, store, clock).rotate(key.id, Rotation(), "cli:bob")
            return found

        add, revoke, rotate = store.add, store.revoke, store.rotate

    with pytest.raises(KeyProblem, match="was replaced before"):
        Keys(SETTINGS, Late(), clock).rotate(key.id, Rotation(), "cli:ann")
    assert len(store.all()) == 2


def test_a_dry_run_changes_nothing(keys: Keys, audit: AuditLog) -> None:
    key = keys.make(Asked(), "cli:ann").key
    keys.make(Asked(), "cli:ann", dry_run=True)
    keys.rotate(key.id, Rotation(), "cli:ann", dry_run=True)
    keys.revoke(key.id, "cli:ann", dry_run=True)
    assert keys.listed() == [key] and len(audit.since()) == 1


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"tag": {}}', "unknown field `tag`"),
        (b"[]", "expected `object`"),
        (b'{"concurrent": "5"}', "expected `int"),
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
    ],
)
def test_bodies_that_cannot_be_read(body: bytes, words: str) -> None:
    with pytest.raises(KeyProblem) as caught:
        body_of(body, Asked)
    assert words in str(caught.value) and caught.value.hint


def test_no_body_asks_for_nothing() -> None:
    assert body_of(b"", Rotation) == Rotation(grace="24h")
    assert msgspec.structs.asdict(body_of(b"{}", Asked)) == msgspec.structs.asdict(Asked())
