"""What settings mean together: each slip is found at its key, and the example is free of errors."""

from pathlib import Path

import pytest

from penstock.config.checks import problems, serve_obstacles
from penstock.config.load import load, parse
from penstock.config.problems import ConfigError, Problem
from penstock.config.secrets import missing_secrets, reveal
from penstock.config.settings import Settings
from penstock.config.tables import Secret

EXAMPLE = Path(__file__).parents[2] / "golden" / "penstock.toml"
BASE = """
version = 1
[upstreams.a]
base_urls = ["http://127.0.0.1:8000/v1"]
[models.m]
upstream = "a"
[models.n]
upstream = "a"
[tiers]
small = { model = "m" }
large = { model = "n" }
"""


def settings_of(extra: str) -> Settings:
    return parse(BASE + extra, {})


def budget(more: str, limit: str = "1 USD / day") -> str:
    return f'[[budgets]]\nname = "b"\nlimit = "{limit}"\n{more}\n'


def found(extra: str) -> dict[str, Problem]:
    return {problem.where: problem for problem in problems(settings_of(extra))}


def test_the_example_has_no_errors() -> None:
    assert {problem.where: problem.severity for problem in problems(load(EXAMPLE, {}))} == {"budgets[0].where.team": "warning"}


def test_the_base_of_these_tests_is_clean() -> None:
    assert found("") == {}


def test_serve_needs_the_secrets_of_the_example_and_nothing_else() -> None:
    settings = load(EXAMPLE, {})
    assert {problem.where for problem in serve_obstacles(settings, {})} == {"upstreams.openai.api_key", "notify.finops.url"}
    assert serve_obstacles(settings, {"OPENAI_API_KEY": "x", "FINOPS_WEBHOOK": "http://127.0.0.1/"}) == []


def test_serve_has_no_obstacles_where_all_is_well() -> None:
    assert serve_obstacles(settings_of('[[budgets]]\nname = "b"\nlimit = "1 USD / day"\n'), {}) == []


@pytest.mark.parametrize(
    ("extra", "where", "hint"),
    [
        ('[models.x]\nupstream = "b"', "models.x.upstream", "known: `a`"),
        ('[models.x]\nupstream = "a"\nprice = { input = -1 }', "models.x.price.input", "0.05"),
        ('[models.x]\nupstream = "a"\nprice = { input = 1, output = "free" }', "models.x.price.output", "0.05"),
        ('[tiers.x]\nmodel = "mm"', "tiers.x.model", "did you mean `m`?"),
        ('[tiers.x]\nmodel = "m"\ncomplexity = "> 1.5"', "tiers.x.complexity", "0 to 1"),
        ('[tiers.n]\nmodel = "m"', "tiers.n", "rename"),
        ('[routes.m]\ntiers = ["small"]', "routes.m", "rename"),
        ("[routes.r]", "routes.r.tiers", "small"),
        ('[routes.r]\ntiers = ["smal"]', "routes.r.tiers[0]", "did you mean `small`?"),
        ('[routes.r]\ntiers = ["small"]\nfallback = ["larg"]', "routes.r.fallback[0]", "did you mean `large`?"),
        ('[[rules]]\nwhere = { data = "x" }\nonly = ["b"]', "rules[0].only[0]", "`a`"),
        ('[[rules]]\nwhere = {}\nonly = ["a"]', "rules[0].where", "restricted"),
        ('[fleets.f]\ngpu = "L4"\nupstream = "b"', "fleets.f.upstream", "`a`"),
        ('[fleets.f]\ngpu = "L4"\nprice = "cheap"', "fleets.f.price", "USD/gpu-hour"),
        ('[fleets.f]\ngpu = "L4"\nprice = "1 USD/week"', "fleets.f.price", "gpu-hour"),
        ('[fleets.f]\ngpu = "L4"\nprice = [{ from = "May", price = "1 USD/hour" }]', "fleets.f.price[0].from", "2026-01-01"),
        ('[costs.c]\nprice = "1 USD/gpu-hour"', "costs.c.price", "month"),
        ('[upstreams.u]\nkind = "anthropic"', "upstreams.u.base_urls", "api.anthropic.com"),
        ('[upstreams.u]\nbase_urls = ["http://x/v1"]\nspeaks = []', "upstreams.u.speaks", "chat"),
        ("[upstreams.u]", "upstreams.u.base_urls", "127.0.0.1"),
        ('[upstreams.u]\nbase_urls = ["127.0.0.1:8000/v1"]', "upstreams.u.base_urls[0]", "http://"),
        ('[upstreams.u]\nbase_urls = ["http://x:99999/v1"]', "upstreams.u.base_urls[0]", "http://"),
        ('[upstreams.u]\nbase_urls = ["http://x y/v1"]', "upstreams.u.base_urls[0]", "http://"),
        ('[upstreams.u]\nbase_urls = ["https://me:key@x/v1"]', "upstreams.u.base_urls[0]", "api_key"),
        ('[upstreams.u]\nbase_urls = ["https://x/v1?a=b"]', "upstreams.u.base_urls[0]", "http://"),
        ('[upstreams.u]\nkind = "simulated"\ntimeout = { idle = "0s" }', "upstreams.u.timeout.idle", "30s"),
        ('[server]\nbaseline = "larg"', "server.baseline", "did you mean `large`?"),
        ('[server]\nlisten = "4100"', "server.listen", "host:port"),
        ('[server]\nlisten = "x:port"', "server.listen", "host:port"),
        ('[server]\nstore = "mysql://x"', "server.store", "sqlite"),
        ('[server]\nshared = "memcached://x"', "server.shared", "local://"),
        ('[server]\ntimezone = "Mars/Olympus"', "server.timezone", "Europe/Prague"),
        ('[server]\ntimezone = "../etc/passwd"', "server.timezone", "Europe/Prague"),
        ('[server]\nmax_body = "0 B"', "server.max_body", "10 MB"),
        ('[tags]\nrequired = ["tem"]', "tags.required[0]", "did you mean `team`?"),
        ('[tags]\nallowed = { colour = ["red"] }', "tags.allowed.colour", "known"),
        ("[tags]\nallowed = { sla = [] }", "tags.allowed.sla", "name the values"),
        ('[cache]\nscope = ["tennant"]', "cache.scope[0]", "did you mean `tenant`?"),
        ('[cache.semantic]\nenabled = true\nttl = "0s"', "cache.semantic", "enabled = false"),
        ('[cache.semantic]\nenabled = true\nstore = "mysql://x"', "cache.semantic.store", "auto"),
        ('[cache.semantic]\nenabled = true\nwrong_answer = "a lot"', "cache.semantic.wrong_answer", "0.50 USD"),
        (
            '[upstreams.u]\nkind = "anthropic"\n[models.e]\nupstream = "u"\n[cache.semantic]\nenabled = true\nembedder = "e"',
            "cache.semantic.embedder",
            "minilm",
        ),
        (
            '[routes.r]\ntiers = ["small"]\ncache_ttl = "0s"',
            "routes.r.cache_ttl",
            "off",
        ),
        ('[cache.exact]\nttl = "0s"', "cache.exact", "enabled = false"),
        ('[[budgets]]\nname = "b"\nlimit = "lots"', "budgets[0].limit", "2500 USD / month"),
        ('[[budgets]]\nname = "b"\nlimit = "1 USD / rolling soon"', "budgets[0].limit", "30s"),
        ('[[budgets]]\nname = "b"\nlimit = "1 USD / day"\nnotify = ["ops"]', "budgets[0].notify", "[notify.ops]"),
        (
            '[[budgets]]\nname = "b"\nlimit = "1 USD / day"\nalert_at = [{ at = 5, notify = ["o"] }]',
            "budgets[0].alert_at[0].notify",
            "[notify.o]",
        ),
        ('[[budgets]]\nname = "b"\nlimit = "1 USD / day"\nalert_at = [0]', "budgets[0].alert_at[0]", "80"),
        ('[[slos]]\nmetric = "cp1kt"\ntarget = "cheap"\nwindow = "6h"', "slos[0].target", "<= 0.0040 USD"),
        ('[[slos]]\nmetric = "cp1kt"\ntarget = "<= 1 USD"\nwindow = "59s"', "slos[0].window", "6h"),
        ('[[slos]]\nmetric = "cp1kt"\ntarget = "<= 1 USD"\nwindow = "6h"\nrespond = ["shift_traffic:x"]', "slos[0].respond[0]", "`small`"),
        ('[[slos]]\nmetric = "cp1kt"\ntarget = "<= 1 USD"\nwindow = "6h"\nrespond = ["panic"]', "slos[0].respond[0]", "notify:<name>"),
        ('[[slos]]\nmetric = "cp1kt"\ntarget = "<= 1 USD"\nwindow = "6h"\nrespond = ["downgrade:x"]', "slos[0].respond[0]", "downgrade"),
        ('[[slos]]\nmetric = "cp1kt"\ntarget = "<= 1 USD"\nwindow = "6h"\nrespond = ["scale_down:x"]', "slos[0].respond[0]", "[fleets]"),
        (budget('where = { model = "o" }'), "budgets[0].where.model", "known: `m`"),
        (budget('where = { cost-center = "o" }'), "budgets[0].where.cost-center", "cost_center"),
        (budget('where = { route = "o" }\nat_limit = "refuse"'), "budgets[0].where.route", "alert"),
        (budget('at_limit = "refuse"', "9000001 USD / month"), "budgets[0].limit", "split it"),
        (budget('where = { colour = "o" }\nat_limit = "refuse"'), "budgets[0].where.colour", "did you mean"),
        (budget('where = { hour = "o" }\nat_limit = "refuse"'), "budgets[0].where.hour", "use a tag"),
        (budget('where = { team = "" }'), "budgets[0].where.team", "team"),
        ('[[slos]]\nmetric = "cp1kt"\ntarget = "<= 0 USD"\nwindow = "6h"', "slos[0].target", "above 0"),
        (budget('timezone = "Mars"'), "budgets[0].timezone", "Europe/Prague"),
        (budget('at_limit = "queue"\nmax_wait = "0s"'), "budgets[0].max_wait", "30s"),
        (
            budget('at_limit = "refuse"', "5 gpu-hours / day") + '[fleets.f]\nupstream = "a"\ngpu = "L4"\nprice = "1 USD/gpu-hour"',
            "budgets[0]",
            "planned_tokens_per_second",
        ),
        ('[[limits]]\nname = "l"', "limits[0]", "600 / minute"),
        ('[[limits]]\nname = "l"\nrequests = "many"', "limits[0].requests", "600 / minute"),
        ('[[limits]]\nname = "l"\nconcurrent = 1\nby = ["model"]', "limits[0].by[0]", "requested_model"),
        ('[notify.n]\nkind = "webhook"\nurl = "ftp://x"', "notify.n.url", "https://"),
        ('[notify.n]\nkind = "email"\nurl = "smtp://x"', "notify.n.url", "mailtos://"),
        ('[notify.n]\nkind = "apprise"\nurl = "x"', "notify.n.url", "https://"),
    ],
)
def test_errors(extra: str, where: str, hint: str) -> None:
    problem = found(extra)[where]
    assert problem.severity == "error"
    assert hint in problem.hint
    assert where in {obstacle.where for obstacle in serve_obstacles(settings_of(extra), {})}


def test_two_budgets_of_one_name() -> None:
    assert found(budget("") + budget(""))["budgets[1].name"].severity == "error"


@pytest.mark.parametrize(
    ("extra", "where"),
    [
        ('[server]\nlisten = "0.0.0.0:4100"', "auth.required"),
        ('[server]\nlisten = "[::]:4100"\n[auth]\nrequired = true', "auth.metrics_key"),
        ('[server]\nlisten = "[::]:4100"\n[auth]\nmetrics = "open"', "auth.metrics"),
        ('[server]\nlisten = "0.0.0.0:4100"', "auth.admin_key"),
        (
            '[[budgets]]\nname = "all"\nlimit = "1 USD / day"\nat_limit = "refuse"\n'
            '[[budgets]]\nname = "b"\nlimit = "2 USD / day"\nat_limit = "queue"\nwhere = { team = "a" }',
            "budgets[1].limit",
        ),
        (budget('where = { colour = "o" }'), "budgets[0].where.colour"),
        (budget('where = { team = "o" }\nat_limit = "refuse"'), "budgets[0].where.team"),
        ('[[limits]]\nname = "l"\nconcurrent = 1\nby = ["colour"]', "limits[0].by[0]"),
        (
            '[[budgets]]\nname = "all"\nlimit = "10 USD / month"\nat_limit = "refuse"\n'
            '[[budgets]]\nname = "b"\nlimit = "20 USD / day"\nat_limit = "refuse"\nwhere = { model = "m" }',
            "budgets[1].limit",
        ),
        ('[routes.r]\ntiers = ["small", "large"]', "routes.r.tiers"),
        ('[cache]\nscope = ["team"]', "cache.scope"),
        ('[[rules]]\nwhere = { data = "x" }\nonly = []', "rules[0].only"),
        ('[upstreams.u]\nbase_urls = ["http://x:8000"]', "upstreams.u.base_urls[0]"),
        ('[upstreams.u]\nkind = "simulated"\nbase_urls = ["http://x/v1"]', "upstreams.u.base_urls"),
        ('[models.x]\nupstream = "a"\ncontext = 10\nmax_output = 20', "models.x.max_output"),
    ],
)
def test_warnings_do_not_keep_serve_from_starting(extra: str, where: str) -> None:
    assert found(extra)[where].severity == "warning"
    assert found(extra)[where].hint
    assert serve_obstacles(settings_of(extra), {"PATH": "x"}) == []


@pytest.mark.parametrize(
    ("small", "large", "gap"),
    [("<= 0.5", "> 0.5", False), ("< 0.5", "> 0.5", True), ("< 0.3", ">= 0.7", True), ("<= 1", "> 0.7", False), ("> 0", "> 0.5", True)],
)
def test_gaps_between_complexity_conditions(small: str, large: str, gap: bool) -> None:
    tiers = f'[tiers.s]\nmodel = "m"\ncomplexity = "{small}"\n[tiers.l]\nmodel = "n"\ncomplexity = "{large}"\n'
    assert ("routes.r.tiers" in found(tiers + '[routes.r]\nstrategy = "by_complexity"\ntiers = ["s", "l"]')) is gap


def test_a_tier_without_a_condition_takes_the_rest() -> None:
    tiers = '[tiers.l]\nmodel = "n"\ncomplexity = "> 0.9"\n[routes.r]\nstrategy = "by_complexity"\ntiers = ["small", "l"]'
    assert found(tiers) == {}


def test_errors_come_before_warnings() -> None:
    both = problems(settings_of('[server]\nlisten = "0.0.0.0:1"\nbaseline = "none"\n'))
    assert [problem.severity for problem in both] == ["error", "warning", "warning", "warning"]


def test_secrets_are_revealed_or_named() -> None:
    assert reveal(Secret("KEY"), {"KEY": "s"}) == "s"
    for environ in ({}, {"KEY": ""}):
        with pytest.raises(ConfigError, match="`KEY` is not set") as caught:
            reveal(Secret("KEY"), environ, "upstreams.a.api_key")
        assert caught.value.problems[0].where == "upstreams.a.api_key"
    assert missing_secrets(settings_of('[auth]\nadmin_key = { env = "ADMIN" }'), {"ADMIN": "x"}) == []


def test_days_are_sealed_whole() -> None:
    found = {problem.where: problem for problem in problems(parse('version = 1\n[archive]\nurl = "a"\nafter = "1h"\n', {}))}
    assert "less than a day" in found["archive.after"].text
    assert "archive.after" not in {problem.where for problem in problems(parse('version = 1\n[archive]\nurl = "a"\nafter = "1d"\n', {}))}
