"""What the language of formulas means, what it refuses, and where its errors point."""

import pickle

import pytest
import sympy as sp

from goal_analysis.symbolic.language.primitives import (
    detach,
    gap,
    hinge,
    logsumexp,
    maximum,
    minimum,
    s_n,
    s_p,
    sigmoid,
    softplus,
    step,
    where,
)
from goal_analysis.symbolic.parsing import FormulaError, arithmetic, formula, parse

tau = sp.Symbol("tau", positive=True)
greek_tau = sp.Symbol("τ", positive=True)
free = sp.Symbol("free", real=True)
SYMBOLS = {"s_n": s_n, "s_p": s_p, "tau": tau, "τ": greek_tau, "free": free, "gap": gap}

MEANINGS = {
    "1 + 2*3 - 4/5": sp.Rational(31, 5),
    "-s_n**2": -(s_n**2),
    "(-s_n)**2": s_n**2,
    "2**-tau": 2 ** (-tau),
    "2**tau**2": 2 ** (tau**2),
    "s_n - s_p - tau": s_n - s_p - tau,
    "s_n/s_p/tau": s_n / s_p / tau,
    "+s_n": s_n,
    "0.2": sp.Rational(1, 5),
    "0.30000000000000004": sp.Rational(30000000000000004, 10**17),
    "1e-3": sp.Rational(1, 1000),
    "1_000": sp.Integer(1000),
    ".5 + 5.": sp.Rational(11, 2),
    "0e99999999": sp.Integer(0),
    "pi": sp.pi,
    "gap": gap,
    "τ*s_n": greek_tau * s_n,
    "ｓ_n": s_n,
    "softplus(tau*(s_n - s_p))/tau": softplus(tau * (s_n - s_p)) / tau,
    "hinge(s_n) + step(s_p)*sigmoid(tau)": hinge(s_n) + step(s_p) * sigmoid(tau),
    "logsumexp(s_n, s_p, 0)": logsumexp(s_n, s_p, 0),
    "detach(1 - s_p)": detach(1 - s_p),
    "exp(s_n) + log(tau) + sin(s_n) + cos(s_p)": sp.exp(s_n) + sp.log(tau) + sp.sin(s_n) + sp.cos(s_p),
    "sqrt(2 - 2*s_p)": sp.sqrt(2 - 2 * s_p),
    "sqrt(s_n**2)": hinge(s_n) + hinge(-s_n),
    "exp(log(s_n**2)/2)": hinge(s_n) + hinge(-s_n),
    "abs(s_n)": hinge(s_n) + hinge(-s_n),
    "max(s_n, s_p)": maximum(s_n, s_p),
    "max(s_n, s_p, 0)": maximum(maximum(s_n, s_p), sp.Integer(0)),
    "min(s_n, s_p)": minimum(s_n, s_p),
    "min(s_n, s_p, 0)": minimum(s_n, minimum(s_p, sp.Integer(0))),
    "s_n if s_n > s_p else 0": where(s_n - s_p, s_n, sp.Integer(0)),
    "s_n if s_n >= s_p else 0": where(s_n - s_p, s_n, sp.Integer(0)),
    "s_n if s_n < s_p else 0": where(s_p - s_n, s_n, sp.Integer(0)),
    "s_n if s_n <= s_p else 0": where(s_p - s_n, s_n, sp.Integer(0)),
    "relu(s_n) + log1p(tau)": hinge(s_n) + sp.log(1 + tau),
    "logsigmoid(s_n)": -softplus(-s_n),
    "acos(s_n) - atan(s_p)*erf(s_n)": sp.acos(s_n) - sp.atan(s_p) * sp.erf(s_n),
    "acos(0.5) + atan(1)": sp.pi / 3 + sp.pi / 4,
    "tanh(s_n)": 2 * sigmoid(2 * s_n) - 1,
    "sign(s_n)": 2 * step(s_n) - 1,
    "clamp(s_n, -1, s_p)": minimum(maximum(s_n, sp.Integer(-1)), s_p),
    "2 if 0 < s_n < s_p else 1": 1 + step(s_n) * step(s_p - s_n),
    "2 if s_n > 0 and s_p >= 0 else 1": 1 + step(s_n) * step(s_p),
    "2 if s_n > 0 or s_p > 0 else 1": 2 - (1 - step(s_n)) * (1 - step(s_p)),
    "2 if not (s_n > 0 and s_p > 0) else 1": 2 - step(s_n) * step(s_p),
    "sin(10**30) + softplus(-300)": sp.sin(10**30) + softplus(-300),
    "sin(pi) + cos(0)": sp.Integer(1),
    "exp(1)": sp.E,
    "log(exp(s_n))": s_n,
    "  s_n\n\t+ s_p \r\n": s_n + s_p,
    "s_n\N{NO-BREAK SPACE}+ 1": s_n + 1,
    "((((((((s_n))))))))": s_n,
    "0**2 + (-2)**3": sp.Integer(-8),
    "(sqrt(2) - 2)**3 - (sqrt(2) - 2)**2": (sp.sqrt(2) - 2) ** 3 - (sp.sqrt(2) - 2) ** 2,
}


@pytest.mark.parametrize("text", MEANINGS)
def test_a_formula_means_what_python_and_sympy_make_of_it(text: str) -> None:
    assert parse(text, SYMBOLS) == MEANINGS[text]


def test_the_meaning_is_checked_by_more_than_its_type() -> None:
    assert parse("s_n - s_p", SYMBOLS) != parse("s_p - s_n", SYMBOLS)
    assert parse("0.2", SYMBOLS) != sp.Float(0.2)


REFUSALS = {
    "s_q + 1": ("s_q", "got the unknown name 's_q' but expected one of s_p, s_n, free, gap, pi, tau, τ"),
    "\N{NO-BREAK SPACE}τ\N{NO-BREAK SPACE}+ s_q": ("s_q", "unknown name 's_q'"),
    "\n τ + 2 +\t\n": ("+", "breaks off here"),
    "τ + τ*s_q": ("s_q", "unknown name 's_q'"),
    "exp": ("exp", "got the function exp but expected a call, as in exp(...)"),
    "asin(s_n)": ("asin", "got the function 'asin' but expected one of "),
    "clamp(s_n)": ("clamp(s_n)", "got clamp of 1 arguments but expected clamp(x, low, high)"),
    "acos(2)": ("acos(2)", "got acos of 2 but expected a number between -1 and 1"),
    "sotplus(s_n)": ("sotplus", "expected one of softplus"),
    "tau(s_n - s_p)": ("tau", "products are spelt *"),
    "2(s_n - s_p)": ("2", "products are spelt *"),
    "exp(s_n, s_p)": ("exp(s_n, s_p)", "got exp of 2 arguments but expected exp(x)"),
    "s_n + max(s_p)": (
        "max(s_p)",
        "expected max(x, y) or more; over an anchor's pairs it is positives or negatives = 'max'",
    ),
    "each(s_n) - s_p": ("each", "over an anchor's pairs it is positives or negatives = 'each' beside the formula"),
    "max(*s_n)": ("max(*s_n)", "got max of named or starred arguments"),
    "exp(x=1)": ("=", "a formula sets nothing"),
    "s_n == s_p": ("=", "compares with <, >, <= or >="),
    "s_n^2": ("^", "powers are spelt **"),
    "s_n // 2": ("//", "quotients are spelt /"),
    "s_n − s_p": ("−", "minus is spelt -"),
    "s_n # the negative": ("#", "comments go beside the formula"),
    "s_n[0]": ("[", "parentheses are ( and )"),
    "s_n.real": (".real", "got '.real'"),
    "'s_n'": ("'", "expected numbers, names, functions"),
    "lambda*s_n": ("lambda", "a word of Python's own, but expected another name, such as lambda_"),
    "s_n and s_p": ("s_n and s_p", "got 'and' or 'or' outside of a condition"),
    "1 + (not s_p)": ("not s_p", "got 'not' outside of a condition"),
    "s_n << 2": ("s_n << 2", "got a shift of bits"),
    "1 if s_n and s_p > 0 else 2": ("s_n", "expected comparisons"),
    "s_n > s_p": ("s_n > s_p", "got a comparison without if ... else"),
    "(s_n, s_p)": ("(s_n, s_p)", "got a list"),
    "1 if s_n else 2": ("s_n", "expected comparisons"),
    "1 if s_n == s_p == 0 else 2": ("=", "compares with <, >, <= or >="),
    "1 if s_n": ("1 if s_n", "expected 'else'"),
    "s_n s_p": ("s_p", "breaks off here"),
    "s_n +": ("+", "breaks off here"),
    "(s_n": ("(", "was never closed"),
    "s_n)": (")", "unmatched"),
    "  ": ("  ", "got an empty formula"),
    "1j": ("1j", "expected numbers"),
    "0x10": ("0x10", "expected numbers"),
    "1if s_n > 0 else 2": ("1if", "expected numbers"),
    "007": ("00", "breaks off here"),
    "s_n\0": ("\0", "expected numbers"),
    "s_n + \ud800": ("\ud800", "expected numbers"),
    "x²": ("²", "breaks off here"),
    "1/0": ("1/0", "got a division by zero"),
    "tau + 1/(s_n - s_n)": ("1/(s_n - s_n)", "got a division by zero"),
    "0**-1": ("0**-1", "zero to the power of -1"),
    "0**s_n": ("0**s_n", "zero to the power of s_n"),
    "sqrt(-1)": ("sqrt(-1)", "expected a positive number"),
    "sqrt(-tau)": ("sqrt(-tau)", "got a complex number"),
    "(-tau)**(1/3)": ("(-tau)**(1/3)", "got a complex number"),
    "(-2)**tau": ("(-2)**tau", "expected a positive number"),
    "log(-1)": ("log(-1)", "got log of -1"),
    "log(0)": ("log(0)", "got log of 0"),
    "log(sigmoid(2) - 5)": ("log(sigmoid(2) - 5)", "expected a positive number"),
    "exp(exp(exp(100)))": ("exp(exp(100))", "got exp of a number past"),
    "exp(300)*exp(300)": ("exp(300)*exp(300)", "got a constant past"),
    "sin(10**60)": ("sin(10**60)", "not told from zero"),
    "sqrt(2) + sqrt(3) - sqrt(5 + 2*sqrt(6))": (
        "sqrt(2) + sqrt(3) - sqrt(5 + 2*sqrt(6))",
        "not told from zero",
    ),
}


@pytest.mark.parametrize("text", REFUSALS)
def test_a_refusal_names_the_place_and_what_is_accepted(text: str) -> None:
    place, problem = REFUSALS[text]
    with pytest.raises(FormulaError) as refusal:
        parse(text, SYMBOLS)
    error = refusal.value
    assert text[error.start : error.end] == place, str(error)
    assert problem in str(error)


def test_the_carets_stand_under_the_place() -> None:
    with pytest.raises(FormulaError) as refusal:
        parse("softplus(\n  τ*(s_n - s_q)\n)/τ", SYMBOLS)
    assert str(refusal.value).splitlines()[1:] == ["    τ*(s_n - s_q)", "             ^^^"]


def test_a_long_line_is_shown_in_part() -> None:
    with pytest.raises(FormulaError) as refusal:
        parse("s_n + " * 60 + "s_q" + " + s_n" * 60, SYMBOLS)
    _, line, carets = str(refusal.value).splitlines()
    assert line.startswith("  ...")
    assert line.endswith("...")
    assert len(line) < 100
    assert line[carets.index("^") : carets.rindex("^") + 1] == "s_q"


def test_wide_characters_move_the_carets() -> None:
    with pytest.raises(FormulaError) as refusal:
        parse("日本 + s_q", SYMBOLS | {"日本": tau})
    assert str(refusal.value).splitlines()[2] == "  " + " " * len("XXXX + ") + "^^^"


def test_an_error_names_its_owner_and_survives_pickling() -> None:
    error = FormulaError("s_q", 0, 3, "got this but expected that").within("loss 'mine': formula")
    assert str(pickle.loads(pickle.dumps(error))) == "loss 'mine': formula: got this but expected that\n  s_q\n  ^^^"


BOUNDS = {
    "MAX_CHARACTERS": (formula, "s_n" + " " * 1_000),
    "MAX_NODES": (formula, "+".join(["1"] * 300)),
    "MAX_DEPTH": (formula, "-" * 60 + "s_n"),
    "MAX_DIGITS": (formula, "0.123456789012345678901"),
    "MAX_EXPONENT": (arithmetic, "s_n**65"),
    "MAX_ROOT": (arithmetic, "s_n**(1/101)"),
    "MAX_ROOT_BITS": (arithmetic, f"sqrt({2**130 + 13})"),
    "MAX_SIZE": (arithmetic, "abs(" * 12 + "s_n" + ")" * 12),
    "MAX_TERMS": (arithmetic, "(s_n + s_p + tau)**64 + (s_n + s_p + free)**64"),
    "MAX_CONSTANT_TERMS": (arithmetic, "(sqrt(2) + sqrt(3) + pi)**20"),
    "MAX_NESTING": (arithmetic, "(" * 60 + "s_n" + "*tau + s_p)" * 60),
}


@pytest.mark.parametrize("bound", BOUNDS)
def test_every_bound_is_what_refuses(bound: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, text = BOUNDS[bound]
    with pytest.raises(FormulaError, match="got"):
        parse(text, SYMBOLS)
    monkeypatch.setattr(module, bound, 10**6)
    parse(text, SYMBOLS)


@pytest.mark.parametrize("text", ["2**60 * 2**60 * 2**60 * 2**60 * 2**60 * 2**60 * 2**60 * 2**60 * 2**60", "9" * 200])
def test_numbers_have_a_size(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FormulaError, match=r"of (more than )?5\d\d bits"):
        parse(text, SYMBOLS)
    for module in (arithmetic, formula):
        monkeypatch.setattr(module, "MAX_BITS", 10**4)
    parse(text, SYMBOLS)


@pytest.mark.parametrize("text", ["1e200", "1e-200", "1e400", "1e-400"])
def test_decimals_have_a_range(text: str) -> None:
    with pytest.raises(FormulaError, match=f"got {text} but expected"):
        parse(text, SYMBOLS)


def test_a_chain_counts_as_one_level() -> None:
    assert parse(" + ".join(["s_n"] * 100), SYMBOLS) == 100 * s_n


def test_what_the_names_stand_for_has_to_be_an_expression() -> None:
    with pytest.raises(TypeError, match="symbols: x: got '1' but expected a SymPy expression"):
        parse("x", {"x": "1"})
