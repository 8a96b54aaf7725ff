"""The demo's `penstock.toml` and its dated prices. Models, prices and the firm are invented; what runs on them is real."""

import json
from datetime import timedelta
from pathlib import Path

from penstock.demo import faq, lookups
from penstock.demo.calendar import DAYS, PRICE_DAY, Calendar
from penstock.demo.lookups import SKILLS

CONFIG_FILE, PRICES_FILE, ANSWERS_FILE = "penstock.toml", "prices.toml", "answers.toml"
MEDIUM_VERSIONS = ("2.0", "2.1")
"""before and after the calendar's VERSION_DAY"""

CONFIG = """\
# Northwater, a fictional firm. Models and prices are invented; every engine is simulated.
version = 1

[server]
listen   = "{listen}"
store    = "sqlite:///penstock.db"
journal  = "./journal"
baseline = "large"
prices   = "{prices}"

[upstreams.own-gpu]
kind = "simulated"
simulated = {{ decode_step_ms = 6, answer_tokens = [24, 120], seed = {seed}, answers = {answers}, skill = {small} }}

[upstreams.api]
kind = "simulated"

[upstreams.api.simulated]
decode_step_ms = 10
answer_tokens  = [60, 300]
seed           = {seed}
answers        = {answers}
skill          = {{ river-2 = {medium}, ocean-3 = {large} }}

[upstreams.trial]
kind = "simulated"
simulated = {{ seed = {seed} }}

[fleets.l40s]
upstream = "own-gpu"
gpu      = "L40S"
count    = 2
price    = "0.99 USD/gpu-hour"
planned_tokens_per_second = 180
where    = {{ region = "north-1" }}

[fleets.h100]
upstream = "trial"
gpu      = "H100"
count    = 2
price    = "2.85 USD/gpu-hour"
planned_tokens_per_second = 1800
where    = {{ region = "north-1" }}

[costs.weights]                           # storage of what the engines load
price = "12 USD/month"
share = {{ upstream = "own-gpu" }}

[costs.load-balancer]
price = "0.0225 USD/hour"
by    = "requests"

[bill]
by = ["team", "feature"]

[objectives.default]
first_token = "2s"

[models.brook-14b]                        # priced by its fleet
upstream     = "own-gpu"
version      = "14b-1"
optimization = "int4"
max_output   = 1024

[models.river-2]
upstream   = "api"
version    = "{medium_version}"
max_output = 4096

[models.ocean-3]
upstream   = "api"
version    = "3.0"
max_output = 16384

[models.delta-70b]
upstream   = "trial"
version    = "70b-rc2"
max_output = 4096

[tiers]
small  = {{ model = "brook-14b", complexity = "< 0.3" }}
medium = {{ model = "river-2" }}
large  = {{ model = "ocean-3", complexity = "> 0.7" }}

[routes.auto]
strategy = "by_complexity"
tiers    = ["small", "medium", "large"]
fallback = ["large"]

[routes.careful]                          # questions with one right answer
strategy      = "learned"
tiers         = ["small", "medium", "large"]
fallback      = ["large"]
error_budget  = 0.03
shadow        = 0.05
shadow_budget = "{shadow_usd} USD / day"

[features]                                # what they are worth beside each other, and what they bear
triage     = {{ value = 3 }}
documents  = {{ value = 5 }}
hydraulics = {{ value = 4, error_budget = 0.01 }}

[[slos]]                                  # says what it would do, and does nothing
name    = "cheap chat"
metric  = "cp1kt"
where   = {{ feature = "chat" }}
target  = "<= 0.0018 USD"
window  = "6h"
respond = ["shift_traffic:medium"]
dry_run = true
"""

BY_MEANING = """
[cache.semantic]                          # of the chat alone: the other applications send `penstock-cache: exact`
enabled      = true
mode         = "learned"
max_error    = 0.005
wrong_answer = "0.50 USD"
"""

BUDGET = """
[[budgets]]
name     = "{name}"
where    = {where}
limit    = "{usd} USD / month"
at_limit = "{at_limit}"
alert_at = [50, 80, 95, "forecast"]
"""
CAPPED = "search"
"""whose budget is a hard cap"""
BUDGETS = (("Northwater", 20_000), ("engineering", 9_000), ("planning", 4_600), ("support", 2_400), (CAPPED, 1_800))
"""whose, and USD a month for `FULL` requests in thirty days; the first is for all, and is told `AT_REST` more"""
FULL = 310_000
SHADOW_USD = 25
"""a day, at most"""
LEAST_USD = 20
"""a month, however small the history"""
AT_REST = 4_000
"""USD a month for hardware that is rented and not at work, whatever the traffic; it comes to a little more"""

PRICES = """\
# Invented prices in USD per million tokens. New ones are appended, old ones stay.
[[price]]
model        = "river-2"
from         = "{begin}"
input        = 1.00
cached_input = 0.10
cache_write  = 1.25
output       = 5.00

[[price]]
model        = "ocean-3"
from         = "{begin}"
input        = 6.00
cached_input = 0.60
cache_write  = 7.50
output       = 30.00

[[price]]
model        = "ocean-3"
from         = "{change}"
input        = 5.00
cached_input = 0.50
cache_write  = 6.25
output       = 25.00
"""


def write(directory: Path, listen: str, seed: int, until_ns: int, requests: int = FULL, *, by_meaning: bool = False) -> Path:
    """All files, with the price change where the calendar that ends at `until_ns` has it and budgets for that many requests.

    `by_meaning`: with the semantic cache. Returns the config's path.
    """
    calendar = Calendar(until_ns)
    answers = directory / ANSWERS_FILE
    answers.write_text(faq.file() + lookups.file(), "utf-8")
    tables = CONFIG.format(
        listen=listen, prices=PRICES_FILE, seed=seed, medium_version=MEDIUM_VERSIONS[1], answers=json.dumps(str(answers.absolute())),
        shadow_usd=SHADOW_USD, **SKILLS,
    )  # fmt: skip
    tables += BY_MEANING if by_meaning else ""
    for index, (name, usd) in enumerate(BUDGETS):
        where = f'{{ team = "{name}" }}' if index else "{}"
        limit = max(usd * requests // FULL // 10 * 10, LEAST_USD) + (0 if index else AT_REST)
        tables += BUDGET.format(name=name, where=where, usd=limit, at_limit="refuse" if name == CAPPED else "alert")
    config = directory / CONFIG_FILE
    config.write_text(tables)
    begin = calendar.date(0) - timedelta(days=DAYS)
    (directory / PRICES_FILE).write_text(PRICES.format(begin=begin, change=calendar.date(PRICE_DAY)))
    return config
