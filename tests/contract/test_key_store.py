"""What every key store does: one law over SQLite and PostgreSQL."""

import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from penstock.adapters.stores import open_documents, open_keys, open_store
from penstock.adapters.stores.audit import DocumentAudit
from penstock.adapters.stores.sql import KEY_COLUMNS
from penstock.ports.audit_log import AuditEntry
from penstock.ports.key_store import ApiKey
from penstock.ports.usage_store import StoreError

OLD = ApiKey(id="k1", prefix="psk_abcd", sha256="1" * 64, created_ns=1)
FULL = ApiKey(
    id="k2",
    prefix="psk_efgh",
    sha256="2" * 64,
    created_ns=2,
    tags={"team": "søk", 'odd "name"': "x'y"},
    models=("small", "large"),
    expires_ns=2**62,
    revoked_ns=5,
    name="ci, nächtlich",
    tiers=("small",),
    requests="600 / minute",
    tokens="100000 / minute",
    concurrent=5,
    budget="50 USD / month",
    account="k0",
    rotated_ns=4,
    replaced_by="k3",
    replaces="k0",
)
NEW = ApiKey(id="k7", prefix="psk_ijkl", sha256="7" * 64, created_ns=50, account="k1", replaces="k1")
NOTED = AuditEntry(id="aud_1", at_ns=50, actor="cli:ann", action="key.rotate", subject="k1")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.db"
    return str(request.getfixturevalue("postgres_url"))


def test_keys_come_back_oldest_first(url: str) -> None:
    keys = open_keys(url)
    keys.add(FULL)
    keys.add(OLD)
    assert open_keys(url).all() == [OLD, FULL]


def test_looking_for_keys_creates_nothing(url: str, tmp_path: Path) -> None:
    assert open_keys(url).all() == []
    assert list(tmp_path.iterdir()) == []


def test_a_key_is_revoked_once(url: str) -> None:
    keys = open_keys(url)
    keys.add(OLD)
    assert keys.revoke("k1", 7)
    assert not keys.revoke("k1", 8)
    assert not keys.revoke("absent", 7)
    assert [key.revoked_ns for key in keys.all()] == [7]


def test_the_same_secret_is_refused(url: str) -> None:
    keys = open_keys(url)
    keys.add(OLD)
    with pytest.raises(StoreError):
        keys.add(ApiKey(id="k9", prefix="psk_abcd", sha256=OLD.sha256, created_ns=3))
    assert keys.all() == [OLD]


def test_keys_live_beside_the_ledger(url: str) -> None:
    store = open_store(url)
    store.prepare()
    open_keys(url).add(OLD)
    with store.snapshot() as snapshot:
        assert snapshot.offsets() == {}
    assert open_keys(url).all() == [OLD]
    store.close()


def test_a_key_that_replaces_none_has_an_account_of_its_own(url: str) -> None:
    open_keys(url).add(OLD)
    [key] = open_keys(url).all()
    assert (key.account, OLD.account) == ("k1", "k1")


def test_a_key_is_replaced_once(url: str) -> None:
    keys = open_keys(url)
    keys.add(OLD)
    assert keys.rotate("k1", NEW, 90)
    [old, new] = keys.all()
    assert old == msgspec.structs.replace(OLD, replaced_by="k7", rotated_ns=50, expires_ns=90)
    assert new == NEW
    again = msgspec.structs.replace(NEW, id="k8", sha256="8" * 64)
    assert not keys.rotate("k1", again, 95)
    assert not keys.rotate("absent", again, 95)
    assert keys.revoke("k7", 60)
    assert not keys.rotate("k7", again, 95)
    assert [key.id for key in keys.all()] == ["k1", "k7"]


def test_grace_never_lengthens_a_life(url: str) -> None:
    keys = open_keys(url)
    keys.add(msgspec.structs.replace(OLD, expires_ns=70))
    assert keys.rotate("k1", NEW, 90)
    assert keys.all()[0].expires_ns == 70


def test_a_change_and_its_audit_entry_are_one(url: str) -> None:
    keys, audit = open_keys(url), DocumentAudit(open_documents(url))
    keys.add(OLD, msgspec.structs.replace(NOTED, id="aud_0", at_ns=1, action="key.create"))
    with pytest.raises(StoreError):
        keys.rotate("k1", msgspec.structs.replace(NEW, sha256=OLD.sha256), 90, NOTED)
    assert keys.all() == [OLD]
    with pytest.raises(StoreError):
        keys.add(OLD, NOTED)
    assert not keys.revoke("absent", 9, NOTED)
    assert not keys.rotate("absent", NEW, 90, NOTED)
    assert [entry.id for entry in audit.since()] == ["aud_0"]
    assert keys.rotate("k1", NEW, 90, NOTED)
    assert keys.revoke("k7", 99, msgspec.structs.replace(NOTED, id="aud_2", at_ns=99))
    assert [entry.id for entry in audit.since()] == ["aud_2", "aud_1", "aud_0"]


def test_a_table_of_an_older_penstock_is_extended(url: str) -> None:
    with closing(open_store(url)) as store:
        store.prepare()
    open_keys(url).add(OLD)
    _run(url, [f"ALTER TABLE api_keys DROP COLUMN {name}" for name, _ in KEY_COLUMNS])
    with pytest.raises(StoreError, match="older schema"):
        open_keys(url).all()
    with closing(open_store(url)) as store:
        store.prepare()
    assert open_keys(url).all() == [OLD]
    open_keys(url).add(FULL)
    assert open_keys(url).all() == [OLD, FULL]


def _run(url: str, statements: list[str]) -> None:
    if url.startswith("sqlite:///"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as db, db:
            for statement in statements:
                db.execute(statement)
        return
    import psycopg

    with psycopg.connect(url) as postgres:
        for statement in statements:
            postgres.execute(statement.encode())
