"""What every price feed owes: exact dated prices, None for what it does not know, names that help. Run on each adapter."""

from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import msgspec
import pytest
from genai_prices import Usage
from genai_prices.data import providers
from genai_prices.types import ModelInfo, Provider
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.adapters.feeds.genai_prices import GenaiPrices
from penstock.domain.dialects.tokens import Tokens
from penstock.domain.prices.rates import Rates
from penstock.domain.prices.schedule import ALWAYS, DAY_NS
from penstock.ports.price_feed import PriceFeed

ADAPTERS: list[Callable[[], PriceFeed]] = [GenaiPrices]
NOW = int(datetime(2026, 11, 1, 12, tzinfo=UTC).timestamp()) * 10**9


@pytest.fixture(params=ADAPTERS, ids=lambda adapter: adapter.__name__)
def feed(request: pytest.FixtureRequest) -> PriceFeed:
    made: PriceFeed = request.param()
    return made


def test_a_known_model_has_a_schedule_whose_entries_name_their_source(feed: PriceFeed) -> None:
    schedule = feed.schedule("openai", "gpt-4o")
    assert schedule is not None
    rates = schedule.at(NOW)
    assert rates is not None
    assert rates.id == f"{feed.name}:openai/gpt-4o"
    assert rates.version == feed.version
    assert (rates.cost(Tokens(1_000_000, 0, 0, 100_000, 0)) or 0) > 0


@pytest.mark.parametrize(("provider", "model"), [("openai", "no-such-model"), ("nobody", "gpt-4o"), ("openai", ""), ("", "gpt-4o")])
def test_an_unknown_model_has_no_price(feed: PriceFeed, provider: str, model: str) -> None:
    assert feed.schedule(provider, model) is None


def test_a_misspelt_name_finds_the_right_one(feed: PriceFeed) -> None:
    assert "gpt-4o" in feed.nearest("openai", "gtp-4o")
    assert "openai" in feed.nearest("opnai", "gpt-4o")
    assert any(name.endswith("/gpt-4o-mini") for name in feed.nearest("", "gpt-4o-minni"))
    assert len(feed.nearest("openai", "gpt", 2)) <= 2


def test_suggested_names_have_a_price(feed: PriceFeed) -> None:
    for name in feed.nearest("", "claude-sonet", 5):
        provider, _, model = name.partition("/")
        assert feed.schedule(provider, model) is not None


def test_listings_agree_with_schedules(feed: PriceFeed) -> None:
    listed = list(feed.listings(NOW))
    assert len(listed) > 500
    assert len({(each.provider, each.model) for each in listed}) == len(listed)
    for each in listed[::50]:
        assert each.rates.per_million()["uncached_input"] is not None or each.rates.per_million()["visible_output"] is not None


@pytest.mark.parametrize(
    ("url", "provider"),
    [
        ("https://api.openai.com/v1", "openai"),
        ("https://api.deepseek.com", "deepseek"),
        ("https://api.groq.com/openai/v1", "groq"),
        ("https://generativelanguage.googleapis.com/v1beta/openai", "google"),
        ("https://acme.openai.azure.com/openai/v1", "azure"),
        ("http://127.0.0.1:8000/v1", None),
        ("http://[::1]:8000/v1", None),
        ("http://vllm:8000/v1", None),
        ("https://llm.example.org/v1", None),
    ],
)
def test_well_known_addresses_name_their_provider(feed: PriceFeed, url: str, provider: str | None) -> None:
    assert feed.provider_of(url) == provider


def test_names_tell_their_maker(feed: PriceFeed) -> None:
    assert feed.provider_of_model("gpt-4o") == "openai"
    assert feed.provider_of_model("my-own-model") is None


GENAI = GenaiPrices()
MODELS = [(provider, model) for provider in providers for model in provider.models]
instants = st.datetimes(datetime(2024, 1, 1), datetime(2027, 6, 1), timezones=st.just(UTC))  # noqa: DTZ001
counts = st.integers(0, 10) | st.integers(0, 400_000)


def their_price(
    provider: Provider, model: ModelInfo, tokens: Tokens, at: datetime, parts: dict[str, int], context: dict[str, str] | None
) -> Fraction:
    told = defaultdict(int, parts)
    usage = Usage(
        input_tokens=tokens.input,
        cache_read_tokens=tokens.cache_read,
        cache_write_tokens=tokens.cache_write,
        cache_write_1h_tokens=told["cache_write_1h"],
        output_tokens=tokens.output + told["citation_tokens"],  # billed beside the output here, within it there
        output_citation_tokens=told["citation_tokens"],
        output_reasoning_tokens=tokens.reasoning,
        # here a modality of the input includes what of it was read from the cache
        input_audio_tokens=told["input_audio"] + told["cache_read_audio"],
        input_image_tokens=told["input_image"] + told["cache_read_image"],
        input_video_tokens=told["input_video"],
        cache_audio_read_tokens=told["cache_read_audio"],
        cache_image_read_tokens=told["cache_read_image"],
        output_audio_tokens=told["output_audio"],
        output_image_tokens=told["output_image"],
        output_video_tokens=told["output_video"],
        web_searches=told["web_searches"],
        storage_searches=told["file_searches"],
    )
    return Fraction(model.calc_price(usage, provider, genai_request_timestamp=at, price_context=context).total_price)


def agrees(
    provider: Provider,
    model: ModelInfo,
    tokens: Tokens,
    at: datetime,
    told: dict[str, int] | None = None,
    processing: str | None = None,
) -> bool:
    """True when a price was compared; raises where ours differs from the package's. `told`: parts, of which those priced are given."""
    schedule = GENAI.compile(provider, model) if processing is None else GENAI.compile_classes(provider, model).get(processing)
    if schedule is None:
        entries = [each.prices for each in model.prices] if isinstance(model.prices, list) else [model.prices]
        assert processing or any(each.input_mtok is None and each.output_mtok is None for each in entries)
        return False
    rates = schedule.at(round(at.timestamp() * 10**6) * 1000)
    if rates is None:
        assert processing, "a standard price has always held"
        return False
    parts = {name: count for name, count in (told or {}).items() if name in rates.bands[0].parts or name in rates.calls}
    assert rates.lacks(parts) == ()
    cost = rates.cost(tokens, parts)
    if cost is None:  # a class that was used has no price: unknown here, nothing there
        assert None in rates.weights(tokens.input)
        return False
    theirs = their_price(provider, model, tokens, at, parts, context_of(model, processing))
    assert cost == round(theirs * 10**9), (provider.id, model.id, tokens, at, parts, processing)
    return True


def context_of(model: ModelInfo, processing: str | None) -> dict[str, str] | None:
    """The package's own words for a class."""
    return next((variant.when for variant in model.price_variants or () if list(variant.when.values()) == [processing]), None)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(MODELS), st.builds(Tokens, counts, counts, counts, counts, counts).filter(lambda tokens: tokens.total > 0), instants)
def test_compiled_prices_are_the_library_s_own(pair: tuple[Provider, ModelInfo], tokens: Tokens, at: datetime) -> None:
    agrees(*pair, tokens, at)


def test_compiled_prices_agree_on_both_sides_of_every_boundary() -> None:
    """Every model; those with bands, dates, hours or fees just before and after each of their thresholds and starts."""
    compared = boundaries = 0
    for provider, model in MODELS:
        schedule = GENAI.compile(provider, model)
        if schedule is None:
            continue
        starts = [start // 1000 for start in schedule.starts if start != ALWAYS] or [NOW // 1000]
        hours = [edge // 1000 for each in schedule.windows for window in each for edge in (window.start, window.end)]
        days = [start - start % (DAY_NS // 1000) for start in (*starts, NOW // 1000)]
        moments = {edge + step for edge in (*starts, *(day + hour for day in days for hour in hours)) for step in (-1, 0)}
        above = {band.input_above + step for rates in schedule.rates for band in rates.bands for step in (0, 1) if band.input_above + step}
        boundaries += len(moments) > 2 or len(above) > 1
        for moment in moments:
            at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=moment)
            for size in above:
                compared += agrees(provider, model, Tokens(size - size // 2 - size // 4, size // 2, size // 4, 700, 300), at)
                compared += agrees(provider, model, Tokens(uncached_input=size), at)
    assert boundaries > 150
    assert compared > 5_000


PARTS = {
    "cache_write_1h": 1_500, "input_audio": 700, "input_image": 300, "input_video": 200, "cache_read_audio": 120, "cache_read_image": 80,
    "output_audio": 90, "output_image": 60, "output_video": 30, "web_searches": 3, "file_searches": 2, "citation_tokens": 40,
}  # fmt: skip
BESIDE = Tokens(1_300, 250, 1_500, 400, 150)
"""holds all of `PARTS`"""


def test_parts_and_calls_of_tools_cost_what_the_library_says() -> None:
    compared: Counter[str] = Counter()
    at = datetime(2026, 11, 21, tzinfo=UTC)
    for provider, model in MODELS:
        schedule = GENAI.compile(provider, model)
        rates = None if schedule is None else schedule.at(round(at.timestamp()) * 10**9)
        priced = [name for name in PARTS if rates is not None and (name in rates.bands[0].parts or name in rates.calls)]
        for size in (1, 100):
            tokens = Tokens(*(count * size for count in msgspec.structs.astuple(BESIDE)))
            for told in (*({name: PARTS[name] * size} for name in priced), {name: PARTS[name] * size for name in priced}):
                if told and agrees(provider, model, tokens, at, told):
                    compared.update(told)
    assert compared.keys() == PARTS.keys() - {"cache_read_video"}
    assert compared.total() > 1_000


def test_processing_classes_cost_what_the_library_says() -> None:
    """Each class of each model, just before and after each of its dates and thresholds, with parts; before it begins it is unpriced."""
    compared: Counter[str] = Counter()
    for provider, model in MODELS:
        for processing, schedule in GENAI.compile_classes(provider, model).items():
            starts = [start // 1000 for start in schedule.starts if start != ALWAYS]
            moments = {NOW // 1000, NOW // 1000 + 90 * DAY_NS // 1000, *(start + step for start in starts for step in (-1, 0))}
            above = {band.input_above + step for rates in schedule.rates for band in rates.bands for step in (2_500, 2_501)}
            for moment in moments:
                at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=moment)
                for size in above:
                    tokens = Tokens(size - 1_750, 250, 1_500, 400, 150)
                    compared[processing] += agrees(provider, model, tokens, at, None, processing)
                    compared[processing] += agrees(provider, model, tokens, at, PARTS, processing)
            if starts and schedule.starts[0] != ALWAYS:
                assert schedule.at(schedule.starts[0] - 1) is None, "never the standard price"
    assert compared.keys() == {"batch", "flex", "priority", "fast"}
    assert min(compared.values()) > 50


def test_a_class_that_the_library_has_no_variant_for_has_no_price(feed: PriceFeed) -> None:
    assert "batch" in feed.classes("openai", "gpt-4o")
    assert "scale" not in feed.classes("openai", "gpt-4o")
    assert "default" not in feed.classes("openai", "gpt-4o"), "the standard class is no class of its own"
    assert feed.classes("openai", "no-such-model") == {}
    flex = feed.schedule("deepseek", "deepseek-v4-pro")
    assert flex is not None and feed.classes("deepseek", "deepseek-v4-pro") == {}


def test_every_entry_has_a_name_of_its_own() -> None:
    seen: dict[tuple[str, str], Rates] = {}
    for provider, model in MODELS:
        standard = GENAI.compile(provider, model)
        for schedule in (*([standard] if standard is not None else []), *GENAI.compile_classes(provider, model).values()):
            for rates in schedule.entries():
                assert seen.setdefault((rates.id, rates.version), rates) == rates
    assert sum("#batch" in id for id, _ in seen) > 80
    assert any("/" in version for _, version in seen)


def test_models_without_a_price_per_token_are_unknown_not_free() -> None:
    assert GENAI.schedule("github-copilot", "gpt-4o") is None


def test_fees_per_call_are_part_of_the_price() -> None:
    schedule = GENAI.schedule("perplexity", "sonar")
    assert schedule is not None
    rates = schedule.rates[0]
    assert rates.cost(Tokens(uncached_input=1)) == 12_001_000  # 12 USD per 1,000 requests, 1 USD per million tokens
