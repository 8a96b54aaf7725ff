"""The facts of the world that the package carries: well-formed, sourced, dated, and never edited after they were entered."""

import hashlib
import json
import re
from collections.abc import Iterator
from datetime import date
from fractions import Fraction
from pathlib import Path

import msgspec
import pytest

from penstock.adapters.feeds.gpus import GpuOffer, MigCard, gpu_offers, in_force, mig_profiles, read_offers, read_skypilot
from penstock.adapters.feeds.overrides import carried_prices
from penstock.domain.prices.config_price import PriceError
from penstock.domain.prices.slices import cards_for, slice_share

ENTERED = Path(__file__).parents[2] / "golden" / "facts.json"
TODAY = date(2026, 11, 22)


def facts() -> Iterator[tuple[str, msgspec.Struct]]:
    for offer in gpu_offers():
        yield f"gpus {' '.join(offer.key)} {offer.date}", offer
    for card in mig_profiles().values():
        yield f"mig {card.gpu} {card.date}", card


def digest(fact: msgspec.Struct) -> str:
    return hashlib.sha256(msgspec.json.encode(fact)).hexdigest()[:16]


def test_entries_stand_as_they_were_entered() -> None:
    """A new entry goes into the golden file too; a line of that file is never changed: correct a fact by a later entry."""
    entered = json.loads(ENTERED.read_text())
    now = {name: digest(fact) for name, fact in facts()}
    assert len(now) == len(list(facts())), "two entries of the same thing on the same day"
    assert {name: now.get(name) for name in entered} == entered, "an old entry was edited or removed"
    assert now.keys() - entered.keys() == set(), (
        f"enter them in {ENTERED.name}: {[(name, now[name]) for name in now.keys() - entered.keys()]}"
    )


def test_every_fact_says_when_and_where_it_was_read() -> None:
    for _, fact in facts():
        assert isinstance(fact, GpuOffer | MigCard)
        assert date(2026, 1, 1) <= fact.date <= TODAY
        assert "https://" in fact.source


def test_prices_are_plausible() -> None:
    offers = in_force(gpu_offers(), TODAY)
    assert len(offers) >= 30
    for offer in offers:
        assert re.fullmatch(r"[A-Z0-9]+-\d+GB", offer.gpu)
        assert Fraction(1, 10) < offer.usd_per_gpu_hour < 20
    by_kind = {(each.provider, each.instance, each.kind): each for each in offers}
    for (provider, instance, kind), offer in by_kind.items():
        if kind == "spot":
            assert offer.usd_per_gpu_hour < by_kind[provider, instance, "on-demand"].usd_per_gpu_hour


@pytest.mark.parametrize(
    ("gpu", "instance", "per_gpu"),
    [("H100-80GB", "p5.48xlarge", "6.88"), ("A100-40GB", "p4d.24xlarge", "2.74470525"), ("L40S-48GB", "g6e.xlarge", "1.861")],
)
def test_the_price_of_a_gpu_is_its_part_of_the_instance(gpu: str, instance: str, per_gpu: str) -> None:
    (offer,) = [each for each in gpu_offers() if each.instance == instance]
    assert (offer.gpu, offer.usd_per_gpu_hour) == (gpu, Fraction(per_gpu))


def test_the_newest_entry_is_in_force() -> None:
    first = gpu_offers()[0]
    later = msgspec.structs.replace(first, usd_per_hour="99", date=date(2027, 1, 1))
    assert [each.usd_per_hour for each in in_force((later, first), date(2026, 12, 31))] == [first.usd_per_hour]
    assert [each.usd_per_hour for each in in_force((later, first), date(2027, 1, 1))] == ["99"]


def test_mig_profiles_are_what_their_names_say() -> None:
    cards = mig_profiles()
    assert set(cards) >= {"A100-40GB", "A100-80GB", "H100-80GB", "H200-141GB", "B200-180GB", "A30-24GB"}
    for card in cards.values():
        assert f"{card.gb}GB" in card.gpu.split("-")
        assert card.compute == (4 if card.gpu.startswith(("A30", "RTX-PRO")) else 7)
        for profile in card.profiles:
            named = re.fullmatch(r"(\d)g\.(\d+)gb(\+me)?", profile.name)
            assert named is not None and (int(named[1]), int(named[2])) == (profile.compute, profile.gb)
            assert profile.most * profile.compute <= card.compute and profile.most * profile.memory <= card.memory
            assert slice_share(card.gpu, profile.name) == Fraction(profile.compute, card.compute), "what a slice is paid for"
            if not named[3]:
                assert cards_for(card.gpu, [(profile.name, profile.most)]) == 1
                assert cards_for(card.gpu, [(profile.name, profile.most + 1)]) == 2


def test_the_prices_that_the_public_book_lacks_are_well_formed() -> None:
    assert carried_prices().source == "tokens.toml"


@pytest.mark.parametrize(("edit", "said"), [("gpus = 0", "gpus"), ("gpus = 1\ncolour = 1", "colour"), ('gpus = 1\nkind = "free"', "kind")])
def test_faults_of_a_file_are_named(edit: str, said: str) -> None:
    kind = "" if "kind" in edit else 'kind = "spot"\n'
    text = '[[offer]]\nprovider = "p"\ninstance = "i"\ngpu = "G"\nusd_per_hour = "1"\nregion = "r"\ndate = 2026-01-01\nsource = "s"\n'
    with pytest.raises(PriceError, match=said):
        read_offers(f"{text}{kind}{edit}\n".encode(), "gpus.toml")


CATALOGUE = """InstanceType,vCPUs,MemoryGiB,AcceleratorName,AcceleratorCount,GpuInfo,Price,SpotPrice,Region,AvailabilityZone
p5.48xlarge,192,2048,H100,8,{},55.04,20.5,us-east-1,us-east-1a
p5.48xlarge,192,2048,H100,8,{},55.04,19.2,us-east-1,us-east-1b
m5.large,2,8,,,,0.096,0.03,us-east-1,us-east-1a
slice,2,8,A10,0.5,{},0.5,,us-east-1,us-east-1a
g6.xlarge,4,16,L4,1.0,{},0.8048,,us-east-1,us-east-1a
"""


def test_a_skypilot_catalogue_gives_one_offer_for_each_instance_region_and_kind() -> None:
    offers = list(read_skypilot(CATALOGUE.encode(), "aws", TODAY, "vms.csv"))
    assert [(each.instance, each.gpu, each.gpus, each.usd_per_hour, each.kind) for each in offers] == [
        ("p5.48xlarge", "H100-80GB", 8, "55.04", "on-demand"),
        ("p5.48xlarge", "H100-80GB", 8, "19.2", "spot"),
        ("g6.xlarge", "L4-24GB", 1, "0.8048", "on-demand"),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b,c\n1,2,3\n", "not a SkyPilot catalogue"),
        (CATALOGUE.replace("55.04,20.5", "dear,20.5"), "line 2: Price `dear`"),
        ("", "not a SkyPilot"),
    ],
)
def test_other_catalogues_are_refused(text: str, said: str) -> None:
    with pytest.raises(PriceError, match=said):
        list(read_skypilot(text.encode(), "aws", TODAY, "vms.csv"))
