"""What every key store does: one law over SQLite and PostgreSQL."""

from pathlib import Path

import pytest

from penstock.adapters.stores import open_keys, open_store
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
)


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
