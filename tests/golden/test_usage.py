"""Usage bodies as providers and engines send them, with the token classes that were worked out by hand."""

import json
from pathlib import Path
from typing import Any

import pytest

from penstock.domain.dialects.tokens import Tokens
from penstock.domain.dialects.usage import UsageError, tokens_from_usage

CASES: list[dict[str, Any]] = []
for _file in sorted((Path(__file__).parent / "usage").glob("*.json")):
    CASES += [{"file": _file.stem, **case} for case in json.loads(_file.read_text())]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['file']}: {case['name']}")
def test_usage_body(case: dict[str, Any]) -> None:
    if "error" in case:
        with pytest.raises(UsageError) as caught:
            tokens_from_usage(case["usage"])
        assert case["error"] in str(caught.value)
    else:
        assert tokens_from_usage(case["usage"]) == Tokens(**case["tokens"])


def test_the_corpus_is_whole() -> None:
    assert len(CASES) >= 90
    assert len({(case["file"], case["name"]) for case in CASES}) == len(CASES)
    for case in CASES:
        assert case["source"]
        assert ("tokens" in case) != ("error" in case)
