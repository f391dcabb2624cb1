"""Expressions on paper: text reads back to the same expression, and LaTeX is in the notation of the field."""

import pytest
import sympy as sp
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from goal_analysis.symbolic.language.primitives import (
    PRIMITIVES,
    detach,
    gap,
    hinge,
    logsumexp,
    s_n,
    s_p,
    sigmoid,
    softplus,
    step,
    where,
    x_n,
    x_p,
)
from goal_analysis.symbolic.parsing.arithmetic import Arithmetic, Refused
from goal_analysis.symbolic.parsing.formula import MAX_CHARACTERS, parse
from goal_analysis.symbolic.typesetting import Plain, latex, plain

tau = sp.Symbol("tau", positive=True)
margin = sp.Symbol("margin", nonnegative=True)
lambda_ = sp.Symbol("lambda_", real=True)
SYMBOLS = {symbol.name: symbol for symbol in (s_p, s_n, x_p, x_n, tau, margin, lambda_)}
third = sp.Rational(1, 3)

TEXTS = {
    s_n - s_p: "s_n - s_p",
    -s_p - s_n: "-s_n - s_p",
    1 - s_p: "1 - s_p",
    s_p**2 - 2 * s_p + 1: "s_p**2 - 2*s_p + 1",
    gap: "x_n - x_p",
    hinge(margin + gap): "hinge(margin + x_n - x_p)",
    softplus(tau * (s_n - s_p)) / tau: "softplus(tau*(s_n - s_p))/tau",
    s_n * tau: "tau*s_n",
    s_n / 5: "0.2*s_n",
    s_n / 3: "s_n/3",
    -2 * s_n / 3: "-2*s_n/3",
    1 / (2 * tau): "0.5/tau",
    1 / (3 * tau * s_n): "1/(3*tau*s_n)",
    sp.Rational(2, 7) * s_n / (s_p + 1): "2*s_n/(s_p + 1)/7",
    sp.Mul(-sp.S.Half, s_p + 1, s_n + 1, tau): "-0.5*tau*(s_n + 1)*(s_p + 1)",
    sp.Mul(-1, s_p + 1, 1 / tau): "-((s_p + 1)/tau)",
    sp.Mul(third, s_p + 1, s_n + 1): "(s_n + 1)*(s_p + 1)/3",
    sp.sqrt(2 - 2 * s_p): "sqrt(2 - 2*s_p)",
    1 / sp.sqrt(tau): "1/sqrt(tau)",
    s_n**third: "s_n**(1/3)",
    s_n**-2: "1/s_n**2",
    s_n ** sp.Rational(3, 2): "s_n**1.5",
    sp.Rational(2, 5) ** tau: "0.4**tau",
    2 ** (-tau): "2**(-tau)",
    sp.exp(-tau * s_n): "exp(-tau*s_n)",
    sp.E * lambda_: "exp(1)*lambda_",
    sp.Rational(1, 10**20) * s_n: "1e-20*s_n",
    s_n / 2**60: "s_n/1152921504606846976",
    sp.Integer(10) ** 30: "1000000000000000000000000000000",
    step(s_n) ** -2: "step(s_n)**(-2)",
    detach(1 - s_p) * s_p: "s_p*detach(1 - s_p)",
    sp.Abs(s_n): "abs(s_n)",
}


@pytest.mark.parametrize("expression", [*TEXTS][:-1], ids=str)
def test_text_is_for_readers_and_reads_back(expression: sp.Expr) -> None:
    assert plain(expression) == TEXTS[expression]
    assert parse(plain(expression), SYMBOLS) == expression


def test_an_absolute_value_reads_back_in_hinges() -> None:
    assert parse(plain(sp.Abs(s_n)), SYMBOLS) == hinge(s_n) + hinge(-s_n)


def _divide(a: sp.Expr, b: sp.Expr) -> sp.Expr:
    assume(b != 0)
    return a / b


def _power(base: sp.Expr, exponent: sp.Expr) -> sp.Expr:
    assume(base != 0)
    return base**exponent


numbers = st.sampled_from(
    [*map(sp.Integer, (-3, -1, 0, 1, 2, 10)), third, sp.Rational(1, 5), sp.Rational(-7, 2), sp.pi]
)
exponents = st.sampled_from([2, 3, -1, -2, sp.S.Half, -sp.S.Half, third, sp.Rational(3, 2), tau, -tau, tau - 1])


def _composed(parts: st.SearchStrategy[sp.Expr]) -> st.SearchStrategy[sp.Expr]:
    unary = st.sampled_from([f for f in PRIMITIVES if f is not logsumexp] + [sp.exp, sp.log, sp.sin, sp.cos, sp.sqrt])
    binary = st.sampled_from(
        [sp.Add, sp.Mul, sp.Mul, lambda a, b: a - b, _divide, logsumexp, lambda a, b: where(a - b, a, b)]
    )
    return (
        st.builds(lambda f, x: f(x), unary, parts)
        | st.builds(lambda f, a, b: f(a, b), binary, parts, parts)
        | st.builds(lambda a, b, c: a * b / c if c != 0 else a * b, parts, parts, parts)
        | st.builds(_power, parts, exponents)
    )


expressions = st.recursive(st.sampled_from([*SYMBOLS.values()]) | numbers, _composed, max_leaves=12)


def _of_the_language(expression: sp.Expr) -> bool:
    try:
        Arithmetic().checked(expression)
    except Refused:
        return False
    return True


@given(expressions)
@settings(max_examples=300)
def test_every_expression_of_the_language_reads_back(expression: sp.Expr) -> None:
    assume(_of_the_language(expression))
    text = plain(expression)
    assume(len(text) <= MAX_CHARACTERS)
    assert parse(text, SYMBOLS) == expression, text
    assert "\n" not in text
    latex(expression)


def test_the_law_notices_a_printer_that_loses_the_parentheses(monkeypatch: pytest.MonkeyPatch) -> None:
    expression = sp.Mul(2, s_p + 1, s_n + 1)
    assert plain(expression) == "2*((s_n + 1)*(s_p + 1))"
    monkeypatch.setattr(Plain, "_print_Mul", lambda self, e: "*".join(map(self._print, e.args)))
    assert parse(plain(expression), SYMBOLS) != expression


def test_sympys_own_text_would_not_read_back() -> None:
    expression = sp.Mul(2, s_p + 1, s_n + 1)
    assert parse(str(expression), SYMBOLS) != expression


FORMULAS = {
    s_n - s_p: "s_n - s_p",
    gap: "A^{-} - A^{+}",
    x_p**2: r"\left(A^{+}\right)^{2}",
    hinge(margin + gap): r"\left[\mathrm{margin} + A^{-} - A^{+}\right]_{+}",
    softplus(tau * (s_n - s_p)) / tau: (
        r"\frac{\operatorname{softplus}\left(\tau \left(s_n - s_p\right)\right)}{\tau}"
    ),
    s_n / 5: "0.2 s_n",
    s_n / 3: r"\frac{s_n}{3}",
    sp.Mul(-third, s_n + 1, s_p): r"- \frac{s_p \left(s_n + 1\right)}{3}",
    1 / (2 * tau): r"\frac{1}{2 \tau}",
    3 / (10 * tau): r"\frac{0.3}{\tau}",
    2 * 2**tau: r"2 \cdot 2^{\tau}",
    s_n / 10**20: r"1 \cdot 10^{-20} s_n",
    sp.exp(-tau * s_n): r"e^{- \tau s_n}",
    1 / sp.sqrt(tau): r"\frac{1}{\sqrt{\tau}}",
    sigmoid(s_n) ** 2: r"\sigma^{2}\left(s_n\right)",
    step(s_n) ** -2: r"\mathbf{1}\left[s_n > 0\right]^{-2}",
    (s_n + 1) / (s_p + 1): r"\frac{s_n + 1}{s_p + 1}",
}


@pytest.mark.parametrize("expression", FORMULAS, ids=str)
def test_latex_is_in_the_notation_of_the_field(expression: sp.Expr) -> None:
    assert latex(expression) == FORMULAS[expression]


NAMES = {
    "gamma": r"\gamma",
    "τ": r"\tau",
    "λ": r"\lambda",
    "Ω": r"\Omega",
    "lambda_": r"\lambda",
    "margin": r"\mathrm{margin}",
    "m": "m",
    "T_n": "T_{n}",
    "alpha_p": r"\alpha_{p}",
    "margin_neg": r"\mathrm{margin}_{\mathrm{neg}}",
    "w1": "w_{1}",
    "a_b_c": "a_{b,c}",
    "_": r"\mathrm{\_}",
}


@pytest.mark.parametrize("name", NAMES)
def test_names_in_latex(name: str) -> None:
    assert latex(sp.Symbol(name)) == NAMES[name]
