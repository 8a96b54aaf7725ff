"""What keeps the semantic cache off though it is asked for: `check`, `cache status` and Savings say it."""

import pytest

from penstock.adapters import embedders
from penstock.bootstrap.caching import lost_embedder, wanting
from penstock.config.load import parse
from penstock.config.settings import Settings

NOWHERE = {"HF_HUB_CACHE": "/nonexistent/hub"}


def asking(embedder: str, enabled: str = "true") -> Settings:
    tables = '[upstreams.sim]\nkind = "simulated"\n[models.embed-small]\nupstream = "sim"\n'
    return parse(f'version = 1\n{tables}[cache.semantic]\nenabled = {enabled}\nembedder = "{embedder}"\n', {})


@pytest.mark.parametrize(
    ("embedder", "why", "hint"),
    [
        ("minilmm", "`minilmm` is neither", "did you mean `minilm`?"),
        ("embed-smal", "`embed-smal` is neither", "did you mean `embed-small`?"),
        ("./nope", "there is no directory nope", "names a directory"),
        ("intfloat/e5-small", "/nonexistent/hub", "hf download intfloat/e5-small"),
    ],
)
def test_an_embedder_that_cannot_be_found_is_said(embedder: str, why: str, hint: str) -> None:
    lost = lost_embedder(asking(embedder), NOWHERE)
    assert lost is not None and why in str(lost) and hint in lost.hint


def test_a_model_of_an_upstream_is_not_looked_for_and_nothing_is_where_it_is_off() -> None:
    assert lost_embedder(asking("embed-small"), NOWHERE) is None
    assert wanting(asking("minilmm", "false"), NOWHERE) is None


def test_packages_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedders, "missing", lambda: ["usearch"])
    lacking = wanting(asking("minilmm"), NOWHERE)
    assert lacking is not None and "not installed: usearch" in str(lacking) and "penstock[semantic]" in lacking.hint
    assert wanting(asking("minilmm", "false"), NOWHERE) is None
