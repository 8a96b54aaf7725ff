"""The user's own dated prices: read as written, checked entry by entry."""

from datetime import date
from fractions import Fraction
from pathlib import Path

import pytest

from penstock.adapters.feeds.overrides import read_overrides
from penstock.domain.prices.config_price import PriceError
from penstock.domain.prices.schedule import midnight_ns

TWO_DATES = """
[[price]]
provider = "OpenAI"
model = "gpt-4o"
from = 2026-10-01
input = 2.0
output = "8.0"

[[price]]
provider = "openai"
model = "gpt-4o"
from = "2026-09-01"
input = 2.2
cached_input = 1.1
output = 9

[[price]]
model = "llama"
from = "2026-01-01"
input = 0.05
"""


def written(directory: Path, text: str) -> Path:
    file = directory / "prices.toml"
    file.write_text(text)
    return file


def test_entries_are_ordered_by_date_and_found_by_name(tmp_path: Path) -> None:
    overrides = read_overrides(written(tmp_path, TWO_DATES))
    schedule = overrides.schedule("openai", "GPT-4o")
    assert schedule is not None
    assert schedule.starts == (midnight_ns(date(2026, 9, 1)), midnight_ns(date(2026, 10, 1)))
    assert [rates.id for rates in schedule.rates] == ["prices:openai/gpt-4o", "prices:openai/gpt-4o"]
    assert [rates.version for rates in schedule.rates] == ["2026-09-01", "2026-10-01"]
    assert schedule.rates[0].per_million()["cache_read"] == Fraction(11, 10)
    assert schedule.rates[1].per_million()["visible_output"] == 8
    assert overrides.schedule(None, "llama") is not None
    assert overrides.schedule("openai", "llama") is None
    assert overrides.schedule(None, "gpt-4o") is None


def test_an_empty_file_has_no_prices(tmp_path: Path) -> None:
    assert read_overrides(written(tmp_path, "")).schedule("openai", "gpt-4o") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[price]\n", "prices.toml"),
        ('[[price]]\nmodel = "m"\nfrom = "2026-01-01"\n', "input"),
        ('[[price]]\nmodel = "m"\nfrom = "soon"\ninput = 1\n', "from"),
        ('[[price]]\nmodel = "m"\nfrom = "2026-01-01"\ninput = 1\ninpt = 2\n', "inpt"),
        ('[[price]]\nmodel = "m"\nfrom = "2026-01-01"\ninput = -1\n', "price 1: price of input `-1"),
        ('[[price]]\nmodel = "m"\nfrom = "2026-01-01"\ninput = nan\n', "price 1: price of input `nan"),
        ('[[price]]\nmodel = "m"\nfrom = "2026-01-01"\ninput = 1\n' * 2, "price 2: `m` has another price from 2026-01-01"),
    ],
)
def test_faults_are_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(PriceError) as caught:
        read_overrides(written(tmp_path, text))
    assert said in str(caught.value)


@pytest.mark.parametrize("word", ["auto", "default", "on_demand", "standard", "standard_only"])
def test_words_for_the_ordinary_class_are_the_standard_price(tmp_path: Path, word: str) -> None:
    overrides = read_overrides(written(tmp_path, TWO_DATES.replace('model = "llama"', f'model = "llama"\nprocessing = "{word}"')))
    assert overrides.schedule(None, "llama") is not None
    assert not overrides.classes(None, "llama")
