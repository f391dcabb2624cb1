"""Antiderivatives in the language of losses: f(y)·y′ by a table, SymPy for the rest, each one checked."""

from __future__ import annotations

from functools import lru_cache

import sympy as sp
from sympy.integrals.manualintegrate import manualintegrate
from sympy.integrals.rationaltools import ratint

from goal_analysis.symbolic.language.primitives import PRIMITIVES, hinge, opened, s_n, s_p, sigmoid, softplus, step
from goal_analysis.symbolic.proof.enclosures import sign_over
from goal_analysis.symbolic.proof.evaluation import FUNCTIONS, UnsupportedFunction
from goal_analysis.symbolic.proof.identity import Ranges, Undecided, refute_zero
from goal_analysis.symbolic.proof.tidying import bounded_factor

MOST_OPERATIONS = 20  # SymPy integrates no functions with more operations: its search takes seconds for them
MOST_DEGREE = 2  # ... and no quotients by polynomials of a higher degree, whose roots take seconds


def antiderivative(expression: sp.Expr, variable: sp.Symbol, ranges: Ranges) -> sp.Expr | None:
    """F with ∂F/∂variable = ``expression`` almost everywhere, compared over ``ranges``, and F continuous, or None."""
    known, total = _by_table(expression, variable) is not None, sp.S.Zero
    for term in [expression] if known else sp.Add.make_args(_expanded(expression)):
        constant, rest = term.as_independent(variable, as_Add=False)
        primitive = _of_product(rest, variable, ranges)
        if primitive is None:
            return None
        total += constant * primitive
    try:
        wrong = refute_zero(sp.diff(total, variable) - expression, ranges)
    except (Undecided, UnsupportedFunction):
        return None
    return None if wrong else total


def _expanded(expression: sp.Expr) -> sp.Expr:
    if not expression.has(hinge, step):
        return sp.expand(expression, power_exp=False, power_base=False, log=False)
    return sp.expand(opened(expression))


def _of_product(product: sp.Expr, variable: sp.Symbol, ranges: Ranges) -> sp.Expr | None:
    if not product.has(variable):
        return product * variable
    found = _by_table(product, variable)
    steps = [f for f in sp.Mul.make_args(product) if isinstance(f, step)]
    if found is None and len(steps) == 1:
        return _beyond_kink(product.xreplace({steps[0]: sp.S.One}), steps[0].args[0], variable, ranges)
    if found is None and not steps:
        found = _by_sympy(product, variable)
    return None if found is None else _with_real_logarithms(found, variable, ranges)


def _beyond_kink(smooth: sp.Expr, inside: sp.Expr, variable: sp.Symbol, ranges: Ranges) -> sp.Expr | None:
    """∫ step(inside)·smooth = step(inside)·(F − F at the kink), with F that of the smooth factor."""
    slope = sp.diff(inside, variable)
    if slope.has(variable) or slope == 0:
        return None
    if smooth == 1:
        return hinge(inside) / slope
    whole, kink = _of_product(smooth, variable, ranges), sp.expand(-inside.subs(variable, 0) / slope)
    return None if whole is None else step(inside) * bounded_factor(whole - whole.subs(variable, kink))


def _by_table(product: sp.Expr, variable: sp.Symbol) -> sp.Expr | None:
    """F(y) for c·f(y)·y′, where f with F is in the table and c is constant."""
    if product == variable:
        return variable**2 / 2
    for factor in sp.Mul.make_args(product):
        if factor.is_Pow and not factor.exp.has(variable):
            y, power = factor.as_base_exp()
            primitive = sp.log(y) if power == -1 else y ** (power + 1) / (power + 1)
        elif factor.func in _TABLE:
            (y,) = factor.args
            primitive = _TABLE[factor.func](y)
        else:
            continue
        slope = sp.diff(y, variable)
        if slope == 0:
            continue
        constant = product / factor / slope
        constant = sp.cancel(constant) if constant.has(variable) and not constant.has(*PRIMITIVES) else constant
        if not constant.has(variable):
            return constant * primitive
    if product.is_Pow and product.exp == -1:
        return _of_shifted_exponential(product.base, variable)
    return None


_TABLE = {sigmoid: softplus, sp.exp: sp.exp, sp.sin: lambda y: -sp.cos(y), sp.cos: sp.sin}


def _of_shifted_exponential(base: sp.Expr, variable: sp.Symbol) -> sp.Expr | None:
    """∫ 1/(exp(y) + c) = −log(1 + c·exp(−y))/(c·y′) for y linear in the variable."""
    c, rest = base.as_independent(variable, as_Add=True)
    if not isinstance(rest, sp.exp) or c == 0:
        return None
    slope = sp.diff(rest.args[0], variable)
    return None if slope.has(variable) else -sp.log(1 + c * sp.exp(-rest.args[0])) / (c * slope)


def _with_real_logarithms(found: sp.Expr, variable: sp.Symbol, ranges: Ranges) -> sp.Expr:
    """log|x| for log x: log x where x is positive over the range, log(−x) where it is negative, else ½·log x²."""

    def real(x: sp.Expr) -> sp.Expr:
        sign = sign_over(x, {variable: ranges.get(variable, (sp.S.NegativeOne, sp.S.One))}) if x.has(variable) else 1
        return sp.log(x * sign) if sign else sp.log(x**2) / 2

    return found.replace(sp.log, real)


@lru_cache(maxsize=1024)
def _by_sympy(function: sp.Expr, variable: sp.Symbol) -> sp.Expr | None:
    if sp.count_ops(function) > MOST_OPERATIONS or function.has(*PRIMITIVES, *({s_p, s_n} - {variable})):
        return None  # SymPy knows these functions spelt with exp alone, and then searches for minutes
    rational = function.is_rational_function(variable)
    if rational and sp.degree(sp.denom(sp.together(function)), variable) > MOST_DEGREE:
        return None
    try:
        found = ratint(function, variable) if rational else manualintegrate(function, variable)
    except Exception:  # its search gives up in many ways; that nothing was found is an answer here
        return None
    # What it finds may be an arc sine, which losses have no word for.
    known = all(f.func in FUNCTIONS for f in found.atoms(sp.Function))
    return found if known and not found.has(sp.Integral, sp.RootSum) else None
