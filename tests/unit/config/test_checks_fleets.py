"""What is wrong with hardware, other costs, bills and objectives is found at its key, with a hint; what is right is clean."""

import pytest

from penstock.config.checks import problems
from penstock.config.load import parse
from penstock.config.problems import Problem

BASE = """
version = 1
[upstreams.a]
base_urls = ["http://127.0.0.1:8000/v1"]
[models.m]
upstream = "a"
"""
FLEET = '[fleets.f]\ngpu = "H100"\n'
SLICES = FLEET + 'mig = "2g.20gb"\ncount = 3\nprice = "7 USD/gpu-hour"\n'
SECOND = '[fleets.g]\ngpu = "H100"\nmig = "1g.10gb"\ncount = 1\nprice = "7 USD/gpu-hour"\n'


def found(extra: str) -> dict[str, Problem]:
    return {problem.where: problem for problem in problems(parse(BASE + extra, {}))}


def committed(keys: str) -> str:
    return f"{FLEET}commitment = {{ {keys} }}"


@pytest.mark.parametrize(
    "extra",
    [
        FLEET,
        FLEET + 'price = "2 USD/gpu-hour"\ncommitment = "spot"',
        FLEET + 'runs = "runs.csv"',
        FLEET + 'runs = "prometheus"\n[telemetry]\nprometheus = "http://127.0.0.1:9090"',
        SLICES,
        SLICES + "cards = 1",
        SLICES + 'card = "c"\n' + SECOND + 'card = "c"\ncards = 1',
        FLEET + 'mig = "1g.10gb"\nprice = "1 USD/hour"',
        committed('kind = "reserved", term = "1y", hourly = "1.9 USD"'),
        committed('kind = "reserved", term = "3y", payment = "partial-upfront", upfront = "9000 USD", hourly = "1", count = 4'),
        committed('kind = "reserved", term = "12mo", payment = "all-upfront", upfront = "9000", start = "2026-01-01"'),
        committed('kind = "owned", capex = "30000 USD", years = 4.5, start = "2026-01-01"'),
        '[costs.c]\nprice = "12 USD/month"\nshare = { upstream = "a", team = "x" }',
        '[costs.c]\nprice = [{ from = "2026-01-01", price = "12 USD/month" }, { from = "2026-05-01", price = "1 USD/day" }]',
        '[bill]\nby = ["team", "model", "cost-center"]',
        '[objectives.default]\nfirst_token = "500ms"\n[objectives.critical]\nduration = "2s"',
    ],
)
def test_what_is_right_is_clean(extra: str) -> None:
    assert found(extra) == {}


@pytest.mark.parametrize(
    ("extra", "where", "hint"),
    [
        (committed('kind = "owned"'), "fleets.f.commitment", "capex"),
        (committed('kind = "owned", capex = "3", years = 0, start = "2026-01-01"'), "fleets.f.commitment.years", "above 0"),
        (committed('kind = "owned", capex = "3", years = -1, start = "2026-01-01"'), "fleets.f.commitment.years", "above 0"),
        (committed('kind = "owned", capex = "lots", years = 4, start = "2026-01-01"'), "fleets.f.commitment.capex", "30000 USD"),
        (committed('kind = "owned", capex = "0", years = 4, start = "2026-01-01"'), "fleets.f.commitment.capex", "30000 USD"),
        (committed('kind = "owned", capex = "3", years = 4, start = "May"'), "fleets.f.commitment.start", "2026-01-01"),
        (
            committed('kind = "owned", capex = "3", years = 4, start = "2026-01-01", term = "1y"'),
            "fleets.f.commitment.term",
            "capex, years",
        ),
        (committed('kind = "reserved", hourly = "1"'), "fleets.f.commitment", "term"),
        (committed('kind = "reserved", term = "1y"'), "fleets.f.commitment", "hourly"),
        (committed('kind = "reserved", term = "1 year", hourly = "1"'), "fleets.f.commitment.term", "12mo"),
        (committed('kind = "reserved", term = "1y", hourly = "1 EUR"'), "fleets.f.commitment.hourly", "USD"),
        (committed('kind = "reserved", term = "1y", hourly = "1", capex = "5"'), "fleets.f.commitment.capex", "term, payment"),
        (
            committed('kind = "reserved", term = "1y", hourly = "1", payment = "part-upfront"'),
            "fleets.f.commitment.payment",
            "did you mean `partial-upfront`?",
        ),
        (
            committed('kind = "reserved", term = "1y", hourly = "1", payment = "partial-upfront"'),
            "fleets.f.commitment.upfront",
            "write `upfront`",
        ),
        (
            committed('kind = "reserved", term = "1y", upfront = "1", payment = "partial-upfront"'),
            "fleets.f.commitment.hourly",
            "write `hourly`",
        ),
        (
            committed('kind = "reserved", term = "1y", hourly = "1", upfront = "1", payment = "no-upfront"'),
            "fleets.f.commitment.upfront",
            "remove",
        ),
        (
            committed('kind = "reserved", term = "1y", hourly = "1", upfront = "1", payment = "all-upfront"'),
            "fleets.f.commitment.hourly",
            "remove",
        ),
        (committed('kind = "spot", term = "1y"'), "fleets.f.commitment.term", "spot takes no more keys"),
        (
            FLEET + 'count = 0\ncommitment = { kind = "reserved", term = "1y", hourly = "1" }',
            "fleets.f.commitment.count",
            "how many units",
        ),
        (FLEET + 'mig = "half"', "fleets.f.mig", "1g.10gb"),
        (FLEET + 'mig = "8g.80gb"', "fleets.f.mig", "7 compute slices"),
        (FLEET + "cards = 2", "fleets.f.cards", "name the `mig` profile"),
        (FLEET + 'card = "c"', "fleets.f.card", "name the `mig` profile"),
        (
            FLEET
            + 'mig = "1g.10gb"\nprice = [{ from = "2026-01-01", price = "7 USD/gpu-hour" }, { from = "2026-02-01", price = "1 USD/hour" }]',
            "fleets.f.price",
            "one of the two units",
        ),
        (SLICES.replace("count = 3", "count = 4") + "cards = 1", "fleets.f.cards", "write 2"),
        (SLICES + 'card = "c"\n' + SECOND.replace("count = 1", "count = 2") + 'card = "c"\ncards = 1', "fleets.g.cards", "write 2"),
        (SLICES + 'card = "c"\ncards = 2\n' + SECOND + 'card = "c"\ncards = 1', "fleets.g.cards", "write the number once"),
        (SLICES + 'card = "c"\n' + SECOND.replace("7 USD", "8 USD") + 'card = "c"', "fleets.g.price", "the same price"),
        (SLICES + 'card = "c"\n' + SECOND.replace("gpu-hour", "hour") + 'card = "c"', "fleets.g.price", "the same price"),
        (SLICES + 'card = "c"\n' + SECOND.replace("H100", "H200").replace("10gb", "18gb") + 'card = "c"', "fleets.g.card", "one GPU"),
        (FLEET + 'runs = ""', "fleets.f.runs", "prometheus"),
        (FLEET + 'runs = "prometheus"', "fleets.f.runs", "[telemetry]"),
        ('[costs.c]\nprice = "1 USD/week"', "costs.c.price", "month"),
        ('[costs.c]\nprice = [{ from = "x", price = "1 USD/month" }]', "costs.c.price[0].from", "2026-01-01"),
        ('[costs.c]\nprice = "1 USD/month"\nshare = { upstream = "b" }', "costs.c.share.upstream", "known: `a`"),
        ('[costs.c]\nprice = "1 USD/month"\nshare = { model = "mm" }', "costs.c.share.model", "did you mean `m`?"),
        ("[bill]\nby = []", "bill.by", "team"),
        ('[bill]\nby = ["cost_center", "cost-center"]', "bill.by[1]", "remove"),
        ("[objectives.default]", "objectives.default", "first_token"),
        ('[objectives.default]\nduration = "0s"', "objectives.default.duration", "above 0"),
    ],
)
def test_errors(extra: str, where: str, hint: str) -> None:
    problem = found(extra)[where]
    assert problem.severity == "error"
    assert hint in problem.hint


@pytest.mark.parametrize(
    ("extra", "where", "hint"),
    [
        (committed('kind = "owned", capex = "30000 USD", years = 4'), "fleets.f.commitment.start", "2026-01-01"),
        (FLEET + 'mig = "1g.10gb"\nprice = "1 USD/hour"\ncards = 1', "fleets.f.cards", "USD/gpu-hour"),
        ('[costs.c]\nprice = "1 USD/month"\nshare = { tem = "x" }', "costs.c.share.tem", "did you mean `team`?"),
        ('[bill]\nby = ["featur"]', "bill.by[0]", "did you mean `feature`?"),
        (
            '[tags]\nallowed = { sla = ["critical"] }\n[objectives.critcal]\nduration = "1s"',
            "objectives.critcal",
            "did you mean `critical`?",
        ),
    ],
)
def test_warnings(extra: str, where: str, hint: str) -> None:
    problem = found(extra)[where]
    assert problem.severity == "warning"
    assert hint in problem.hint
