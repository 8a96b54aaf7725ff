"""The price of each configured model, as a configuration file decides it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.bootstrap import price_book
from penstock.config.load import load
from penstock.domain.dialects.tokens import Tokens
from penstock.domain.prices.book import PriceBook

CONFIG = """
version = 1
[server]
prices = "prices.toml"

[upstreams.local]
base_urls = ["http://127.0.0.1:8000/v1"]
[upstreams.rented]
base_urls = ["http://10.0.0.5:8000/v1"]
[upstreams.openai]
base_urls = ["https://api.openai.com/v1"]
[upstreams.plain]
base_urls = ["http://127.0.0.1:8001/v1"]
[upstreams.training]
base_urls = ["http://127.0.0.1:8002/v1"]
[upstreams.proxy]
base_urls = ["http://proxy:8000/v1"]
provider = "openai"

[fleets.l40s]
upstream = "rented"
gpu = "L40S"
count = 2
price = "0.79 USD/gpu-hour"
planned_tokens_per_second = 2500
[fleets.unpriced]
upstream = "training"
gpu = "H100"
planned_tokens_per_second = 100
[fleets.slices]
upstream = "local"
gpu = "A100-80GB"
mig = "2g.20gb"
price = "2 USD/gpu-hour"
planned_tokens_per_second = 100

[models.own]
upstream = "openai"
name = "gpt-4o"
price = { input = 0.05, cached_input = 0.01, output = 0.10 }
[models.served]
upstream = "rented"
[models.public]
upstream = "openai"
name = "gpt-4o-mini"
[models.behind-a-proxy]
upstream = "proxy"
name = "gpt-4o-mini"
[models.agreed]
upstream = "openai"
name = "gpt-4o"
[models.named]
upstream = "plain"
[models.misspelt]
upstream = "openai"
name = "gpt-4o-minni-x"
[models.sliced]
upstream = "local"
[models.engine]
upstream = "plain"
price = { input = 0.05, output = 0.10, processing = { batch = { input = 0.02, output = 0.04 } } }
[models.classes]
upstream = "openai"
name = "gpt-4o"
price = { input = 2, output = 8, processing = { flex = { input = 1, output = 4, cached_input = 0.5 } } }
[models.training]
upstream = "training"
"""
PRICES = """
[[price]]
provider = "openai"
model = "gpt-4o"
from = "2026-10-01"
input = 2.0
output = 8.0
[[price]]
provider = "openai"
model = "gpt-4o"
from = "2026-11-01"
processing = "batch"
input = 0.9
output = 3.6
[[price]]
model = "named"
from = "2026-01-01"
input = 0.02
output = 0.04
"""
SEPTEMBER, NOVEMBER = 1_788_300_000 * 10**9, 1_793_600_000 * 10**9
MILLION = Tokens(1_000_000, 0, 0, 0, 0)


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> PriceBook:
    directory = tmp_path_factory.mktemp("prices")
    (directory / "penstock.toml").write_text(CONFIG)
    (directory / "prices.toml").write_text(PRICES)
    return price_book(load(directory / "penstock.toml", {}))


def cost(book: PriceBook, model: str, at_ns: int = NOVEMBER, processing: str | None = None) -> int | None:
    schedule = book.schedule(model, processing)
    rates = None if schedule is None else schedule.at(at_ns)
    return None if rates is None else rates.cost(MILLION)


@pytest.mark.parametrize(
    ("model", "nano", "why"),
    [
        ("own", 50_000_000, "by the config's `price`"),
        ("served", 35_111_111, "by fleet `l40s`"),
        ("public", 150_000_000, "as openai/gpt-4o-mini"),
        ("behind-a-proxy", 150_000_000, "as openai/gpt-4o-mini"),
        ("agreed", 2_000_000_000, "by `prices.toml`"),
        ("named", 20_000_000, "by `prices.toml`"),
        ("misspelt", None, "it knows gpt-4o"),
        ("sliced", 317_460_317, "by fleet `slices`"),
        ("training", None, "fleet `unpriced` has no price per hour of what it counts"),
    ],
)
def test_the_order_of_prices(book: PriceBook, model: str, nano: int | None, why: str) -> None:
    assert cost(book, model) == nano
    assert why in book.why(model)


def test_an_agreed_price_leaves_the_past_as_it_was(book: PriceBook) -> None:
    assert cost(book, "agreed", SEPTEMBER) == 2_500_000_000


def test_unpriced_models_are_listed(book: PriceBook) -> None:
    assert book.unpriced(NOVEMBER) == ["misspelt", "training"]


@pytest.mark.parametrize(
    ("model", "processing", "nano"),
    [
        ("public", "batch", 75_000_000),
        ("public", "scale", None),
        ("agreed", "batch", 900_000_000),
        ("agreed", "priority", 4_250_000_000),
        ("own", "batch", None),
        ("classes", "flex", 1_000_000_000),
        ("classes", "batch", None),
        ("engine", "batch", 20_000_000),
        ("engine", "priority", 50_000_000),
        ("named", "flex", 20_000_000),
        ("served", "batch", 35_111_111),
        ("misspelt", "batch", None),
    ],
)
def test_a_processing_class_has_its_own_price_or_none(book: PriceBook, model: str, processing: str, nano: int | None) -> None:
    """Of what a provider bills. Own engines know no classes: there the standard price holds."""
    assert cost(book, model, NOVEMBER, processing) == nano


def test_a_class_is_agreed_from_its_own_day_on(book: PriceBook) -> None:
    before = 1_793_300_000 * 10**9  # 29 October 2026
    assert cost(book, "agreed", before, "batch") == 1_250_000_000
    assert cost(book, "agreed", SEPTEMBER, "batch") is None, "before the public book knows of it there is no price"


def test_every_entry_is_kept_under_one_name(book: PriceBook) -> None:
    names = [(rates.id, rates.version) for rates in book.entries()]
    assert len(names) == len(set(names))
    assert {"prices:openai/gpt-4o#batch", "config:classes#flex", "fleet:l40s", "genai-prices:openai/gpt-4o-mini#batch"} <= {
        id for id, _ in names
    }


def test_the_public_book_is_not_loaded_when_every_model_has_a_price(tmp_path: Path) -> None:
    config = tmp_path / "penstock.toml"
    config.write_text(
        'version = 1\n[upstreams.u]\nbase_urls = ["http://127.0.0.1:1/v1"]\n[models.m]\nupstream = "u"\nprice = { input = 1, output = 2 }\n'
    )
    code = (
        "import sys; from penstock.bootstrap import price_book; from penstock.config.load import load;"
        f"book = price_book(load({str(config)!r}, {{}})); assert book.schedule('m'); print('genai_prices' in sys.modules)"
    )
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True).stdout == "False\n"
