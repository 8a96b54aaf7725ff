"""Thirty days of a made-up firm for the browser tests: a spend that jumps, tags that would hurt, ten thousand users."""

import random
import time
from collections.abc import Iterator
from pathlib import Path

from penstock.bootstrap import open_anomalies, open_documents, open_store
from penstock.capacity.simulation_report import keep
from penstock.config.load import load
from penstock.domain.budgets.causes import Cause
from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.record import UsageRecord
from penstock.finops.anomalies.book import Found
from penstock.ports.usage_store import Intake
from tests.integration.test_console_simulation import report

ZONE = "America/New_York"
USERS = 10_000
HOSTILE = ("<script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "=cmd()|'/c calc'!A0", "x" * 200, "\u202egnp.exe")
DAY_NS = 86_400 * 10**9
TABLES = """
[upstreams.local]
kind = "simulated"
[upstreams.api]
kind = "simulated"
[fleets.l40s]
upstream = "local"
gpu = "L40S"
count = 2
price = "0.79 USD/gpu-hour"
planned_tokens_per_second = 2500
[fleets.spare]
gpu = "H100"
price = "2.95 USD/gpu-hour"
[models.little]
upstream = "local"
[models.big]
upstream = "api"
price = { input = 2.5, output = 10.0 }
[models.odd]
upstream = "api"
[tiers]
small = { model = "little" }
large = { model = "big", complexity = "> 0.7" }
[routes.auto]
strategy = "by_complexity"
tiers = ["small", "large"]
[[budgets]]
name = "the firm"
limit = "90 USD / month"
notify = ["away"]
[[budgets]]
name = "research"
where = { team = "research" }
limit = "2 USD / month"
at_limit = "refuse"
[[budgets]]
name = "GPU time"
limit = "40 gpu-hours / rolling 24h"
[[limits]]
name = "each team"
by = ["team"]
requests = "60000 / minute"
[[slos]]
metric = "cp1kt"
name = "cheap answers"
where = { model = "big" }
target = "<= 0.0001 USD"
window = "6h"
respond = ["shift_traffic:small"]
[[slos]]
metric = "cp1kt"
name = "rehearsal"
target = "<= 0.0001 USD"
window = "6h"
respond = ["downgrade"]
dry_run = true
[notify.away]
kind = "webhook"
url = "http://127.0.0.1:9/nobody"
"""


def fill(config: Path) -> None:
    """Puts the records into the store of a config, as the controller would, and what strayed beside them."""
    settings, now_ns = load(config, {}), time.time_ns()
    store = open_store(settings)
    try:
        records = list(_month(time.time_ns()))
        for first in range(0, len(records), 5000):
            store.take_in(Intake(records[first : first + 5000], [], [], {}))
    finally:
        store.close()
    book = open_anomalies(settings)
    for number, (team, end_ns) in enumerate((("research", None), (HOSTILE[0], now_ns - 3600 * 10**9))):
        book.put(_strayed(f"odd{number}", team, now_ns, end_ns))
    keep(open_documents(settings), report("sim_long", now_ns, name="llama-3.1-8b_on_whatever_there_was_at_that_time_" * 2))


def _strayed(id: str, team: str, now_ns: int, end_ns: int | None) -> Found:
    return Found(
        id=id, team=team, feature="agent", model=None, metric="spend", metrics=("spend",), begin_ns=now_ns - 4 * 3600 * 10**9,
        found_ns=now_ns, end_ns=end_ns, observed=9.4e9, usual=1e9, cost=12 * 10**9, usual_cost=10**9, impact=11 * 10**9, requests=400,
        score=9.0, causes=(Cause("requests", "user", "svc-refactor", 10**10, 0.92, 0.1, 0.8),),
    )  # fmt: skip


def _month(now_ns: int) -> Iterator[UsageRecord]:
    dice = random.Random(3)
    for number in range(6000):
        age = dice.random() * 30
        team, feature = dice.choice((("support", "answers"), ("support", "triage"), ("search", "ranking"), ("research", "agent")))
        jump = feature == "agent" and 1 < age < 2
        for turn in range(8 if jump else 1):
            yield _record(f"m{number}-{turn}", now_ns - int(age * DAY_NS) - turn, {"team": team, "feature": feature}, dice)
    for number in range(USERS):
        yield _record(f"u{number}", now_ns - int(dice.random() * DAY_NS), {"team": "public", "user": f"user-{number:05}"}, dice)
    for number, text in enumerate(HOSTILE):
        yield _record(f"h{number}", now_ns - int((number + 1) * 60e9), {"team": text, "feature": text}, dice)
    yield UsageRecord(
        id="odd", admitted_ns=now_ns - 10**9, endpoint="chat.completions", status=200, outcome="ok", model="odd", upstream="api"
    )


def _record(id: str, admitted_ns: int, tags: dict[str, str], dice: random.Random) -> UsageRecord:
    large, read, written = dice.random() < 0.3, dice.randrange(200, 2000), dice.randrange(20, 400)
    cost, dear = read * (2500 if large else 40) + written * (10_000 if large else 160), read * 2500 + written * 10_000
    hit = dice.random() < 0.1
    return UsageRecord(
        id=id, admitted_ns=admitted_ns, endpoint="chat.completions", status=200, outcome="ok", requested_model="auto",
        model="big" if large else "little", tier="large" if large else "small", upstream="api" if large else "local",
        fleet=None if large else "l40s", tags=tags, route="large" if large else "small", cache="exact" if hit else "miss",
        tokens=Tokens(0, 0, 0, 0, 0) if hit else Tokens(read, 0, 0, written, 0),
        recalled=Tokens(read, 0, 0, written, 0) if hit else Tokens(0, 0, 0, 0, 0),
        cost=0 if hit else cost, list_cost=cost, counterfactual=dear, baseline="big", cost_basis="measured" if large else "estimated",
        first_token_us=None if hit else dice.randrange(50_000, 900_000), duration_us=dice.randrange(100_000, 4_000_000),
        price_id="config:big" if large else "fleet:l40s",
    )  # fmt: skip
