"""Routes that name what does not exist, that could not keep what they say, or that would be less careful than they look."""

import pytest

from penstock.config.checks import problems
from penstock.config.checks_routing import unpriced_ladders
from penstock.config.load import parse
from penstock.config.problems import Problem
from penstock.config.settings import Settings

BASE = """
version = 1
[upstreams.a]
base_urls = ["http://127.0.0.1:8000/v1"]
[models]
llama-8b = { upstream = "a" }
gemini-flash = { upstream = "a" }
big = { upstream = "a", name = "maker/Llama-3.1-405B" }
[tiers]
small = { model = "llama-8b" }
mid = { model = "gemini-flash" }
large = { model = "big" }
"""
ALL = 'tiers = ["small", "mid", "large"]\n'
SAFE = "[routes.r.presets.safe]\nerror_budget = 0.01"
BEST = '[routes.r.presets.best]\nstrategy = "fixed"\ntiers = ["large"]'
CASCADE = '[routes.r]\nstrategy = "cascade"\n' + ALL


def settings_of(extra: str) -> Settings:
    return parse(BASE + extra, {})


def found(extra: str) -> dict[str, Problem]:
    return {problem.where: problem for problem in problems(settings_of(extra))}


def check(more: str) -> str:
    """A cascade with one check."""
    return f'{CASCADE}checks = ["c"]\n[checks.c]\n{more}\n'


@pytest.mark.parametrize(
    "extra",
    [
        CASCADE,
        CASCADE + "error_budget = 0.03",
        f'[routes.r]\nstrategy = "gate"\n{ALL}error_budget = 0.03\nby = ["feature", "team"]',
        f'[routes.r]\nstrategy = "learned"\n{ALL}error_budget = 0.03\nshadow_budget = "5 USD / day"\nsticky = "10m"',
        f'[routes.r]\nstrategy = "fixed"\n{ALL}error_budget = 0.03',
        f'[routes.r]\nstrategy = "by_complexity"\n{ALL}classifier = "llama-8b"',
        check('kind = "regex"\npattern = "^[A-Z]$"'),
        check('kind = "json"'),
        check('kind = "json_schema"'),
        check('kind = "python"\ncallable = "shop.checks:right"'),
        check('kind = "http"\nurl = "https://x/check"'),
        check('kind = "verifier"\nmodel = "gemini-flash"'),
        CASCADE + f"error_budget = 0.03\n{SAFE}\n{BEST}",
        CASCADE + 'error_budget = 0.03\nsla = { critical = { error_budget = 0.01, strategy = "gate" } }',
        '[[budgets]]\nname = "b"\nlimit = "1 USD / day"\n' + CASCADE + 'error_budget = 0.1\ncost_weight = 0.1\nfollow_budget = "b"',
        "[features.search]\nvalue = 3",
    ],
)
def test_what_is_fine(extra: str) -> None:
    assert found(extra) == {}


@pytest.mark.parametrize(
    ("extra", "where", "hint"),
    [
        ('[routes.r]\nstrategy = "cascade"\ntiers = ["small"]', "routes.r.tiers", "fixed"),
        ('[routes.r]\nstrategy = "gate"\ntiers = ["small", "large"]', "routes.r.tiers", "three"),
        ('[routes.r]\nstrategy = "learned"\n' + ALL, "routes.r.strategy", "error_budget"),
        ('[routes.r]\ntiers = ["small", "small"]', "routes.r.tiers[1]", "remove"),
        (CASCADE + 'checks = ["sql"]', "routes.r.checks[0]", "[checks.sql]"),
        (CASCADE + 'judge = "bigg"', "routes.r.judge", "did you mean `big`?"),
        (f'[routes.r]\nstrategy = "by_complexity"\n{ALL}classifier = "nobody"', "routes.r.classifier", "known"),
        (CASCADE + 'follow_budget = "b"', "routes.r.follow_budget", "[[budgets]]"),
        (CASCADE + 'shadow_budget = "much"', "routes.r.shadow_budget", "2500 USD / month"),
        (CASCADE + 'shadow_budget = "5 gpu-hours / day"', "routes.r.shadow_budget", "5 USD / day"),
        (CASCADE + 'sticky = "0s"', "routes.r.sticky", "10m"),
        (CASCADE + 'sla = { gold = { cost_weight = 1 } }\n[tags]\nallowed = { sla = ["critical"] }', "routes.r.sla.gold", "critical"),
        (CASCADE + 'sla = { critical = { strategy = "learned" } }', "routes.r.sla.critical.strategy", "error_budget"),
        (CASCADE + '[routes.r.presets.p]\ntiers = ["larg"]', "routes.r.presets.p.tiers[0]", "did you mean `large`?"),
        (CASCADE + '[routes.r.presets.p]\ntiers = ["small", "mid"]', "routes.r.presets.p.tiers", "add `large`"),
        (CASCADE + '[routes.r.presets.p]\nstrategy = "fixed"', "routes.r.presets.p.strategy", 'tiers = ["large"]'),
        (CASCADE + '[routes.r.presets.p]\nstrategy = "by_complexity"', "routes.r.presets.p.strategy", "drop it"),
        (CASCADE + '[routes.r.presets.p]\nstrategy = "gate"\ntiers = ["mid", "large"]', "routes.r.presets.p.strategy", "three"),
        (check('kind = "regex"'), "checks.c.pattern", "pattern ="),
        (check('kind = "regex"\npattern = "("'), "checks.c.pattern", "single quotes"),
        (check('kind = "json_schema"\nschema = { type = "objekt" }'), "checks.c.schema", "json-schema.org"),
        (check('kind = "python"'), "checks.c.callable", "package.module:function"),
        (check('kind = "python"\ncallable = "shop.checks"'), "checks.c.callable", "package.module:function"),
        (check('kind = "http"'), "checks.c.url", "http://"),
        (check('kind = "http"\nurl = "ftp://x"'), "checks.c.url", "http://"),
        (check('kind = "verifier"'), "checks.c.model", "model ="),
        (check('kind = "verifier"\nmodel = "bigg"'), "checks.c.model", "did you mean `big`?"),
        (check('kind = "json"\ntimeout = "0s"'), "checks.c.timeout", "2s"),
    ],
)
def test_errors(extra: str, where: str, hint: str) -> None:
    problem = found(extra)[where]
    assert problem.severity == "error"
    assert hint in problem.hint


@pytest.mark.parametrize(
    ("extra", "where", "text"),
    [
        ('[routes.r]\nstrategy = "gate"\ntiers = ["small", "large", "mid"]', "routes.r.tiers", "family `llama`"),
        ('[tiers.twin]\nmodel = "big"\n[routes.r]\nstrategy = "cascade"\ntiers = ["twin", "large"]', "routes.r.tiers", "same model"),
        (CASCADE + 'error_budget = 0.03\nby = ["colour"]', "routes.r.by[0]", "colour"),
        (CASCADE + "error_budget = 0.03\nshadow = 0.0", "routes.r.shadow", "nothing is measured"),
        (CASCADE + "sla = { critical = { error_budget = 0.01 } }", "routes.r.sla.critical.error_budget", "always go to its last tier"),
        (CASCADE + "error_budget = 0.03\nsla = { best_effort = { error_budget = 0.1 } }", "routes.r.sla.best_effort.error_budget", "0.03"),
        (CASCADE + "error_budget = 0.03\npresets = { p = { error_budget = 0.1 } }", "routes.r.presets.p.error_budget", "changes nothing"),
        (CASCADE + "presets = { p = { confidence = 0.5 } }", "routes.r.presets.p.confidence", "changes nothing"),
        (CASCADE + 'classifier = "llama-8b"', "routes.r.classifier", "asks no classifier"),
        ('[checks.c]\nkind = "json"', "checks.c", "no route names it"),
        (check('kind = "json"\npattern = "x"'), "checks.c.pattern", "does not look at"),
        (check('kind = "json"\nwhere = { colour = "red" }'), "checks.c.where.colour", "colour"),
        (
            '[[budgets]]\nname = "b"\nlimit = "1 USD / day"\n' + CASCADE + 'error_budget = 0.1\nfollow_budget = "b"',
            "routes.r.follow_budget",
            "nothing can grow",
        ),
        ('[features.serch]\nvalue = 3\n[tags]\nallowed = { feature = ["search"] }', "features.serch", "no request"),
    ],
)
def test_warnings(extra: str, where: str, text: str) -> None:
    problem = found(extra)[where]
    assert problem.severity == "warning"
    assert text in problem.text


def test_a_ladder_with_unknown_prices_is_an_error_where_something_is_promised() -> None:
    promising = settings_of(CASCADE + "error_budget = 0.03")
    (problem,) = unpriced_ladders(promising, {"llama-8b", "big"})
    assert (problem.severity, problem.where) == ("error", "routes.r")
    assert "`gemini-flash` of tier `mid`" in problem.text
    assert list(unpriced_ladders(promising, {"llama-8b", "big", "gemini-flash"})) == []
    assert list(unpriced_ladders(settings_of(CASCADE), ())) == []


def test_tags_of_routes_and_checks_are_spelled_as_requests_spell_them() -> None:
    settings = settings_of(CASCADE + 'by = ["Cost-Center"]\nchecks = ["c"]\n[checks.c]\nkind = "json"\nwhere = { Cost-Center = "x" }')
    assert settings.routes["r"].by == ("cost_center",)
    assert settings.checks["c"].where == {"cost_center": "x"}


@pytest.mark.parametrize(
    ("small", "large", "warned"), [("1, output = 2", "0.1, output = 0.2", True), ("0.1, output = 0.2", "1, output = 2", False)]
)
def test_a_ladder_from_dear_to_cheap_is_told(small: str, large: str, warned: bool) -> None:
    base = BASE.replace('llama-8b = { upstream = "a" }', f'llama-8b = {{ upstream = "a", price = {{ input = {small} }} }}')
    base = base.replace('405B" }', f'405B", price = {{ input = {large} }} }}')
    told = {problem.where: problem for problem in problems(parse(base + CASCADE, {}))}
    assert ("measured against it" in told["routes.r.tiers"].text) if warned else "routes.r.tiers" not in told
