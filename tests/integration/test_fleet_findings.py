"""What `penstock check` says of fleets whose names or prices do not fit the ledger, and of MIG profiles that no card has."""

from pathlib import Path

import msgspec
import pytest

from penstock.cli.fleet_findings import fleet_findings, mig_findings, renamed_fleets
from penstock.config.hardware import DatedPrice, Fleet
from penstock.config.problems import Problem
from penstock.domain.ledger.entries import HOUR_NS
from penstock.domain.units import Rate
from penstock.finops.books import Books
from penstock.finops.ledger import Ledger
from tests.integration.test_statement import T0, Site, site_of


def found_in(site: Site, hours: int) -> list[Problem]:
    with site.store.snapshot() as snapshot:
        return list(renamed_fleets(Books(site.settings, Ledger(snapshot), T0 + hours * HOUR_NS, lambda fleet: None)))


def with_fleets(site: Site, **fleets: Fleet) -> None:
    kept = {name: fleet for name, fleet in site.settings.fleets.items() if name != "more"}
    site.settings = msgspec.structs.replace(site.settings, fleets={**kept, **fleets})


def test_fleets_that_stayed_are_no_finding(tmp_path: Path) -> None:
    assert not found_in(site_of(tmp_path), 48)


def test_a_renamed_fleet_is_paid_twice_and_check_says_so(tmp_path: Path) -> None:
    site = site_of(tmp_path)
    with_fleets(site, renamed=site.settings.fleets["more"])
    gone, new = found_in(site, 48)
    assert (gone.where, gone.severity) == ("fleets.more", "warning") and "date that one's price" in str(gone.hint)
    assert (new.where, new.severity) == ("fleets.renamed.price", "warning") and "its price has no date" in new.text


def test_a_new_fleet_with_a_date_or_in_a_young_ledger_is_fine(tmp_path: Path) -> None:
    site = site_of(tmp_path)
    with_fleets(site, more=site.settings.fleets["more"], new=Fleet(gpu="L40S", price="1 USD/gpu-hour"))
    assert [each.where for each in found_in(site, 48)] == ["fleets.new.price"]
    assert not found_in(site, 12)
    with_fleets(
        site,
        more=site.settings.fleets["more"],
        new=Fleet(gpu="L40S", price=(DatedPrice(from_="2026-01-01", price=Rate("1 USD/gpu-hour")),)),
    )
    assert not found_in(site, 48)


def test_a_ledger_that_is_not_there_has_none(tmp_path: Path) -> None:
    site = site_of(tmp_path)
    server = msgspec.structs.replace(site.settings.server, store=f"sqlite:///{tmp_path}/absent.db")
    assert not fleet_findings(msgspec.structs.replace(site.settings, server=server))
    assert not (tmp_path / "absent.db").exists()


@pytest.mark.parametrize(
    ("gpu", "mig", "severity", "said"),
    [
        ("A100-80GB", "2g.20gb", None, ""),
        ("NVIDIA H100 80GB HBM3", "MIG-1g.10gb", None, ""),
        ("H100", "1g.10gb+me", None, ""),
        ("A100", "1g.5gb", None, ""),
        ("H100", "1g.5gb", "error", "1g.10gb"),
        ("A100-80GB", "1g.5gb", "error", "2g.20gb"),
        ("L40S", "1g.10gb", "warning", "A100-40GB"),
        ("V100", "1g.5gb", "warning", "A30-24GB"),
    ],
)
def test_mig_profiles_that_no_card_has(tmp_path: Path, gpu: str, mig: str, severity: str | None, said: str) -> None:
    site = site_of(tmp_path)
    site.settings = msgspec.structs.replace(site.settings, fleets={"f": Fleet(gpu=gpu, mig=mig, price="1 USD/gpu-hour")})
    problems = list(mig_findings(site.settings))
    assert [each.severity for each in problems] == ([] if severity is None else [severity])
    assert all(said in str(each.hint) for each in problems)
