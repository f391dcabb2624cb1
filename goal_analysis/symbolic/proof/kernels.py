"""Proofs that an expression is zero, by algebra alone.

The cases of every `step` and `hinge` are distinguished; what is left is written as a rational function of independent
kernels (exponentials, logarithms, roots, sines), and its numerator is expanded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import reduce
from types import MappingProxyType

import sympy as sp

from goal_analysis.symbolic.language.primitives import hinge, logsumexp, sigmoid, softplus, step
from goal_analysis.symbolic.proof.size import terms_multiplied_out
from goal_analysis.symbolic.proof.tidying import bounded_factor, bounded_factor_list

MOST_OPERATIONS = 600
"""Of expressions with more operations no proof is tried ..."""

MOST_TERMS = 20_000
"""... or of more terms when the numerator is multiplied out ..."""

MOST_KINKS = 10
"""... and of those with more kinks, as every combination of signs is a case."""


def proves_zero(expression: sp.Expr) -> bool:
    """Whether the algebra shows that ``expression`` is zero almost everywhere; False proves nothing."""
    if expression == 0:
        return True
    too_large = sp.count_ops(expression) > MOST_OPERATIONS or len(expression.atoms(hinge, step)) > MOST_KINKS
    return not too_large and all(_smooth_part_vanishes(case) for case in cases(expression))


def cases(expression: sp.Expr, settled: Mapping[sp.Expr, sp.Expr] = MappingProxyType({})) -> Iterator[sp.Expr]:
    """``expression`` without kinks, once for every combination of signs at its `step`s and `hinge`s.

    Args:
        expression: any.
        settled: the values of the steps that are decided already.
    """
    expression = expression.replace(hinge, lambda x: x * step(x))
    expression = expression.replace(step, lambda x: step(sp.factor_terms(sp.expand(x))))
    while not settled.keys().isdisjoint(expression.atoms(step)):
        expression = expression.xreplace(settled)
    steps = sorted(expression.atoms(step), key=lambda s: (len(s.atoms(step)), sp.default_sort_key(s)))
    if not steps:
        yield expression
        return
    innermost = steps[0]
    opposite = step(-innermost.args[0])
    for inside in (sp.S.Zero, sp.S.One):
        yield from cases(expression, {**settled, innermost: inside, opposite: 1 - inside})


def _smooth_part_vanishes(expression: sp.Expr) -> bool:
    if expression == 0:
        return True
    kernels = _Kernels()
    above = sp.numer(sp.together(kernels.convert(expression)))
    if terms_multiplied_out(above) > MOST_TERMS:
        return False
    numerator = sp.expand(above)
    for symbol, relation in kernels.relations:
        numerator = sp.expand(sp.rem(numerator, sp.numer(sp.together(relation)), symbol))
    return numerator == 0


def factored_in_exponentials(expression: sp.Expr) -> sp.Expr:
    """A smooth expression with its sigmoids and softpluses written with exp and log, in factors.

    >>> from goal_analysis.symbolic.language.primitives import s_n, s_p
    >>> factored_in_exponentials(sigmoid(s_n - s_p) / sigmoid(s_p - s_n))
    exp(s_n)*exp(-s_p)
    """
    kernels = _Kernels()
    factored = bounded_factor(sp.together(kernels.convert(expression)))
    spelt = {dummy: _SPELT[key[0]](*key[1:]) for key, dummy in kernels.dummies.items()}
    while not factored.free_symbols.isdisjoint(spelt):
        factored = factored.xreplace(spelt)
    return factored


_SPELT = {
    "exp": sp.exp,
    "log": sp.log,
    "sin": sp.sin,
    "cos": sp.cos,
    "root": lambda base, degree: sp.Pow(base, sp.Rational(1, degree)),
    "power": sp.Pow,
    "opaque": lambda e: e,
}
"""What the dummies of a kernel stand for, by the first word of their key."""


class _Kernels:
    """Writes a smooth expression as a rational function of symbols and of kernels, one dummy for each."""

    def __init__(self) -> None:
        self.dummies: dict[tuple, sp.Dummy] = {}
        self.exponents: dict[sp.Dummy, sp.Expr] = {}
        self.relations: list[tuple[sp.Dummy, sp.Expr]] = []

    def convert(self, e: sp.Expr) -> sp.Expr:
        if e.is_Rational or e.is_Symbol:
            return e
        if e is sp.E:
            return self.exp(sp.S.One)
        if e.is_Add or e.is_Mul:
            return e.func(*map(self.convert, e.args))
        if isinstance(e, sigmoid):
            return 1 / (1 + self.exp(-e.args[0]))
        if isinstance(e, softplus):
            return self.log(1 + self.exp(e.args[0]))
        if isinstance(e, logsumexp):
            return self.log(sp.Add(*map(self.exp, e.args)))
        if isinstance(e, sp.exp):
            return self.exp(e.args[0])
        if isinstance(e, sp.log):
            return self.log(self.convert(e.args[0]))
        if isinstance(e, sp.sin | sp.cos):
            return self.circular(e)
        if e.is_Pow:
            return self.power(*e.as_base_exp())
        return self.dummy("opaque", e)

    def dummy(self, *key) -> sp.Dummy:
        return self.dummies.setdefault(key, sp.Dummy())

    def exp(self, exponent: sp.Expr) -> sp.Expr:
        """exp of a sum is a product of powers of kernels, exp(c·log u) is u to the c."""
        exponent = sp.expand(self.convert(exponent))
        product = sp.S.One
        for term in sp.Add.make_args(exponent):
            number, rest = term.as_coeff_Mul()
            inside = next((key[1] for key, d in self.dummies.items() if d == rest and key[0] == "log"), None)
            if inside is not None and number.is_Integer:
                product *= inside**number
                continue
            kernel = self.dummy("exp", rest / number.q)
            self.exponents[kernel] = rest / number.q
            product *= kernel**number.p
        return product

    def log(self, inside: sp.Expr) -> sp.Expr:
        """The log of a quotient is a sum over its factors; that of an exponential is its exponent."""
        numerator, denominator = sp.fraction(sp.together(inside))
        total = sp.S.Zero
        for part, sign in ((numerator, 1), (denominator, -1)):
            content, factors = bounded_factor_list(part)
            total += sign * (0 if content == 1 else self.dummy("log", content))
            for factor, power in factors:
                log = self.exponents.get(factor)
                total += sign * power * (self.dummy("log", factor) if log is None else log)
        return total

    def circular(self, e: sp.Expr) -> sp.Expr:
        angle = self.convert(e.args[0])
        sine, cosine = self.dummy("sin", angle), self.dummy("cos", angle)
        self.relate(sine, sine**2 + cosine**2 - 1)
        return sine if isinstance(e, sp.sin) else cosine

    def power(self, base: sp.Expr, exponent: sp.Expr) -> sp.Expr:
        if exponent.is_Integer:
            return self.convert(base) ** exponent
        if exponent.is_Rational:
            inside = self.convert(base)
            root = self.dummy("root", inside, exponent.q)
            self.relate(root, root**exponent.q - inside)
            return root**exponent.p
        converted = self.convert(base)
        return reduce(
            lambda product, term: product * self.real_power(converted, term),
            sp.Add.make_args(sp.expand(self.convert(exponent))),
            sp.S.One,
        )

    def real_power(self, base: sp.Expr, exponent: sp.Expr) -> sp.Expr:
        number, rest = exponent.as_coeff_Mul()
        if rest == 1 and number.is_Integer:
            return base**number
        return self.dummy("power", base, rest / number.q) ** number.p

    def relate(self, symbol: sp.Dummy, relation: sp.Expr) -> None:
        if (symbol, relation) not in self.relations:
            self.relations.append((symbol, relation))
