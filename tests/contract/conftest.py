"""The store under contract, in each of its forms."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.adapters.stores import open_store
from penstock.ports.usage_store import UsageStore


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.db"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def store(url: str) -> Iterator[UsageStore]:
    store = open_store(url)
    store.prepare()
    yield store
    store.close()
