"""The review in words and as one HTML file: complete in itself, every question answered, nothing that clients sent taken for markup."""

import re

import msgspec
import pytest

from penstock.console.reports.showback import gpu_hour_parts, savings_pipe, showback_html, width
from penstock.console.reports.showback_words import answers, grown, used
from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.entries import HOUR_NS
from penstock.domain.ledger.record import UsageRecord
from penstock.finops.bills.document import Money
from penstock.finops.showback.document import FleetReview, Growth, Procurement, Showback, TrainingBudget
from penstock.finops.showback.review import showback
from penstock.finops.showback.window import last_month
from tests.unit.finops.bill_books import DECEMBER, NOVEMBER, OCTOBER, books_of

USD = 10**9
EVIL = "<script>alert(1)</script>"


def record(id: str, admitted_ns: int, **fields: object) -> UsageRecord:
    given = {
        "endpoint": "chat.completions", "status": 200, "outcome": "ok", "model": "large", "upstream": "openai", "tags": {"team": EVIL},
        "cost": 3 * USD, "list_cost": 3 * USD, "counterfactual": 5 * USD, "tokens": Tokens(100, 0, 0, 100, 0), "duration_us": 1_000,
    }  # fmt: skip
    return msgspec.convert(given | {"id": id, "admitted_ns": admitted_ns} | fields, UsageRecord, strict=False)


@pytest.fixture(scope="module")
def review() -> Showback:
    own = {"model": "small", "upstream": "local", "fleet": "l40s", "cost": 1, "list_cost": 1, "model_version": "2"}
    records = [record("a", OCTOBER), *(record(f"b{n}", NOVEMBER + n * HOUR_NS) for n in range(3)), record("c", NOVEMBER, **own)]
    return showback(books_of(records), last_month(DECEMBER + 1, "UTC"))


def told(review: Showback) -> dict[str, str]:
    return {each.id: each.answer for each in answers(review)}


def test_it_asks_for_nothing_from_anywhere(review: Showback) -> None:
    html = showback_html(review)
    assert re.findall(r"https?://|url\(|@import|\bsrc=|<script|<iframe", html) == []
    assert re.findall(r'href="([^"]*)"', html) == ["data:,"]
    assert "default-src 'none'" in html


def test_names_that_clients_chose_are_text(review: Showback) -> None:
    html = showback_html(review)
    assert EVIL not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


def test_every_question_stands_with_its_answer_and_every_figure_with_its_definition(review: Showback) -> None:
    html = showback_html(review)
    for each in answers(review):
        assert each.question in html
    for name, meaning in review.definitions.items():
        assert f"<dt>{name}</dt>" in html
        assert meaning.split("&")[0].split("'")[0] in html
    assert "AI costs in review, November 2026" in html
    assert "1 November 2026 to 30 November 2026" in html


def test_it_is_made_for_paper_and_says_what_pictures_show(review: Showback) -> None:
    html = showback_html(review)
    assert "@media print" in html
    figures = re.findall(r"<svg class=\"fig.*?</svg>", html, re.DOTALL)
    assert len(figures) > 5
    assert all("<title>" in figure for figure in figures)
    assert "on the baseline became" in html


def test_what_is_unknown_is_said(review: Showback) -> None:
    gone = msgspec.structs.replace(
        review.fleets[0], rent_usd=None, idle_usd=None, utilization=None, utilization_p95=None, units=None, enough_units=None,
        over_provisioned=None, constrained=None, note="unknown: Prometheus did not answer",
    )  # fmt: skip
    html = showback_html(msgspec.structs.replace(review, fleets=(gone,), unknown=("3 requests have no price",)))
    assert html.count('<span class="unknown">unknown</span>') >= 8
    assert "3 requests have no price" in html
    assert told(msgspec.structs.replace(review, fleets=(gone,)))["fleets"] == "Of l40s that is unknown."
    assert "nobody has made a plan yet" in html


def test_an_empty_review_is_still_a_review() -> None:
    nothing = showback(books_of([]), last_month(DECEMBER + 1, "UTC"))
    html = showback_html(nothing)
    assert "No request was answered." in html
    assert told(nothing)["training"] == "No budget covers training."
    assert told(nothing)["versions"] == "No model answered in the window."


def growth(faster: bool | None, spend: float | None, usage: float | None, measure: str = "requests", note: str = "") -> Growth:
    return Growth(
        workload="inference", usd=Money(1), before_usd=Money(1), measure=measure, used=1, before_used=1, spend_growth=spend,
        usage_growth=usage, faster=faster, note=note,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("found", "answer"),
    [
        ((growth(True, 0.5, 0.2),), "Inference: yes. Per day, spend +50 %, requests +20 %."),
        ((growth(False, -0.1, 0.2),), "Inference: no. Per day, spend -10 %, requests +20 %."),
        (
            (growth(True, 0.5, 0.2), growth(False, 0.5, 0.6, "tokens")),
            "Inference: faster than requests only. Per day, spend +50 %, requests +20 % and tokens +60 %.",
        ),
        ((growth(None, None, None, note="there was none before"),), "Inference: unknown, there was none before."),
        ((), "Nothing was used in either window."),
    ],
)
def test_growth_is_answered_by_every_measure(review: Showback, found: tuple[Growth, ...], answer: str) -> None:
    assert plain(told(msgspec.structs.replace(review, growth=found))["growth"]) == answer


def plain(text: str) -> str:
    return text.replace("\u202f", " ").replace("\u2212", "-")


def test_budgets_of_training_are_answered_one_by_one(review: Showback) -> None:
    budget = TrainingBudget(
        name="tuning", limit_text="100 USD / month", unit="USD", limit="100", spent="40", share=0.4, elapsed=0.5, within=True, since="",
        until="",
    )  # fmt: skip
    over = msgspec.structs.replace(budget, name="lab", spent="140", share=1.4, within=False)
    vague = msgspec.structs.replace(budget, name="odd", spent=None, share=None, within=None, note="what it costs")
    asked = msgspec.structs.replace(review, training_budgets=(budget, over, vague))
    assert plain(told(asked)["training"]) == (
        "tuning: yes, 40 % of 100 USD / month is used, with 50 % of the time over. "
        "lab: no, 140 % of 100 USD / month is used, with 50 % of the time over. odd: unknown, what it costs."
    )
    assert "lab" in showback_html(asked)


def fleet(review: Showback, **fields: object) -> FleetReview:
    return msgspec.structs.replace(review.fleets[0], **fields)


def test_fleets_are_judged_by_name(review: Showback) -> None:
    large = fleet(
        review, fleet="big", over_provisioned=True, constrained=False, utilization=0.1, upper_bound=True, units=3.0, enough_units=1
    )
    small = fleet(review, fleet="tight", over_provisioned=False, constrained=True, utilization_p95=0.97)
    asked = msgspec.structs.replace(review, fleets=(large, small))
    words = plain(told(asked)["fleets"])
    assert words.startswith("big is too large: at most 10 % used, ")
    assert words.endswith("1 unit of 3 would have been enough. tight is too small: P95 of its utilisation is 97 %.")
    for units, enough, told_of in (
        (1.0, 1, "one unit is the least of its kind"),
        (2.0, 3, "at its peaks it takes all"),
        (2.0, 0, "nobody used it"),
    ):
        tight_fit = msgspec.structs.replace(large, units=units, enough_units=enough)
        assert told_of in told(msgspec.structs.replace(review, fleets=(tight_fit,)))["fleets"]
    calm = fleet(review, over_provisioned=False, constrained=False)
    assert told(msgspec.structs.replace(review, fleets=(calm,)))["fleets"] == "No: every fleet is used, and keeps up."


def bought(review: Showback, **fields: object) -> str:
    base: Procurement = review.procurement[0]
    return plain(told(msgspec.structs.replace(review, procurement=(msgspec.structs.replace(base, **fields),)))["procurement"])


def test_advice_is_a_sentence(review: Showback) -> None:
    assert bought(review, advice="commit", candidate_units=2, breaks_even_discount=0.25) == (
        "2 units of l40s ran steadily on demand: a commitment of more than 25 % off pays."
    )
    assert bought(review, advice="let_lapse", unused_usd=Money(7 * USD)).startswith("$7 of the commitment for l40s was not used")
    assert bought(review, advice="release", enough_units=1, note="1 of 2 would have been enough; and so on") == (
        "Give back what l40s does not need: 1 of 2 would have been enough."
    )
    assert bought(review, advice="release", enough_units=8, serves=False, note="it stands idle") == "Give back l40s: it stands idle."
    assert bought(review, advice="keep") == "Nothing, as far as the figures go."
    assert (
        bought(review, advice="unknown", note="unknown: it has no price per hour") == "Of l40s that is unknown: it has no price per hour."
    )


def test_gpu_hours_are_parts_of_what_ran(review: Showback) -> None:
    parts = list(gpu_hour_parts(review))
    assert sum(share for _, share, _ in parts) == pytest.approx(1)
    assert parts[-1][0].startswith("idle: ")
    assert list(gpu_hour_parts(msgspec.structs.replace(review, fleet_gpu_hours=0.0))) == []


def test_without_a_baseline_there_is_no_pipe(review: Showback) -> None:
    assert savings_pipe(review) is not None
    assert savings_pipe(msgspec.structs.replace(review, compared=0)) is None
    assert "Unknown" in told(msgspec.structs.replace(review, compared=0))["optimisations"]


def test_small_words() -> None:
    assert [plain(grown(value)) for value in (0.123, -0.5, 0.0, None)] == ["+12.3 %", "-50 %", "0 %", "unknown"]
    assert [used(value) for value in (12_345_678, 1.5, 3, None)] == ["12,345,678", "1.5", "3", "unknown"]
    assert (width(None, 5), width(5, 10), width(5, 0)) == (None, 0.5, 0.0)
