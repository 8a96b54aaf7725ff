"""The page of checked claims: what articles print on the cost of serving, beside what the product's own functions compute."""

from collections.abc import Iterator

from tests.golden.claims import Claim, claims

INTRODUCTION = """\
# Claims, checked

Five articles on the cost of serving models print figures that many plans rest on. Here is each one that can be calculated, in our
words, with what is right. The right figures are computed when this page is generated, by the functions behind `penstock calc`; a test
fails when one of them changes. The commands of a row show its figures, in the order in which the row names them, often beside others:
each prints the inputs, the formula and the result. Put in your own figures with `--set` ([how](../howto/calculate.md)).

- **right**: the figure follows from its inputs.
- **wrong**: its own inputs give another figure, or what it claims cannot happen.
- **misleading**: the arithmetic may hold, but something that decides is left out.
- **given**: a setting, or an assumption that no calculation can check; what follows from it is worked out.

Months have 30 days unless said. Amounts are USD.
"""

LIMITS = """\
## What this page does not say

That an assumption of an article holds for you: idle shares, hit rates, escalation and prices are your own, and your ledger has them
(`penstock cost`, `penstock cache`, `penstock route ladder`). Figures of hardware that follow from a model of it
(memory, context, batches) are bounds by data sheet, not measurements: see `penstock size` for predictions with their error. Claims on
code, manifests and services are not arithmetic and are not here.
"""


def claims_markdown() -> str:
    """One table for each article, and a count."""
    every = claims()
    counts = {verdict: sum(each.verdict == verdict for each in every.claim) for verdict in ("right", "wrong", "misleading", "given")}
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    lines = [INTRODUCTION, f"{len(every.claim)} claims: {told}.", ""]
    for key, title in every.articles.items():
        lines += [f"## {title}", "", "| no. | it says | verdict | what is right | check it |", "|---|---|---|---|---|"]
        lines += _rows([each for each in every.claim if each.article == key])
        lines.append("")
    return "\n".join([*lines, LIMITS])


def _rows(found: list[Claim]) -> Iterator[str]:
    for each in found:
        right = f"{each.told()} *Why:* {each.why}" if each.why else each.told()
        cells = (each.id, each.claim, f"**{each.verdict}**", right, _commands(each))
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _commands(claim: Claim) -> str:
    """All that its figures take, each once."""
    return "<br>".join(f"`{command}`" for command in dict.fromkeys(check.command for check in claim.checks))
