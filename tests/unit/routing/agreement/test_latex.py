"""Short answers in LaTeX, in plain signs."""

import pytest

from penstock.domain.routing.agreement.latex import has_latex, without_latex


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("\\frac{1}{2}", "1/2"),
        ("2\\dfrac{1}{2}", "2 1/2"),
        ("\\frac{a+b}{2}", "(a+b)/2"),
        ("\\boxed{\\text{\\textbf{yes}}}", "yes"),
        ("\\sqrt{\\frac{1}{2}}", "sqrt(1/2)"),
        ("\\left[0, 1\\right)", "[0, 1)"),
        ("x^{10}", "x^10"),
        ("x^{n+1}", "x^(n+1)"),
        ("3 \\times 10^{-2}", "3 * 10^(-2)"),
        ("45^{\\circ}", "45\u00b0"),
        ("$x$", "x"),
        ("$$x$$.", "x"),
        ("$5$", "5"),
        ("$5", "$5"),
        ("$1,000", "$1,000"),
        ("\\$1{,}000", "$1000"),
        ("\\pi r^2", "pi r^2"),
        ("\\pivot", "\\pivot"),
        ("5\\,\\mathrm{km}", "5 km"),
        ("plain", "plain"),
    ],
)
def test_plain_signs(written: str, plain: str) -> None:
    assert without_latex(written) == plain


def test_what_has_none() -> None:
    assert not any(map(has_latex, ["42", "$5", "a_b", "{'a': 1}", "x^2"]))
    assert all(map(has_latex, ["\\pi", "$x$", "x^{2}", "1{,}000"]))
