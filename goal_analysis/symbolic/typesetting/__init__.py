"""Expressions as a line of text that `parse` reads back, and in LaTeX, in the order and decimals of a reader."""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction
from typing import NamedTuple

import sympy as sp
from sympy.printing.latex import LatexPrinter, greek_letters_set, tex_greek_dictionary
from sympy.printing.precedence import PRECEDENCE
from sympy.printing.str import StrPrinter

from goal_analysis.symbolic.language.primitives import s_n, s_p, x_n, x_p


def plain(expression: sp.Expr) -> str:
    """One line of text that `parse` reads back, but for products of several roots of numbers, which have many forms."""
    return Plain().doprint(expression)


def latex(expression: sp.Expr) -> str:
    """LaTeX in the notation of the field: a Greek name becomes the letter, longer names stand upright."""
    return Latex().doprint(expression)


_PRODUCT, _POWER = PRECEDENCE["Mul"], PRECEDENCE["Pow"]


class _Order:
    """A sum begins with a positive term, if it has one."""

    def _as_ordered_terms(self, total: sp.Expr, order: str | None = None) -> list[sp.Expr]:
        terms = super()._as_ordered_terms(total, order=order)  # pyright: ignore[reportAttributeAccessIssue]
        first = next((term for term in terms if not term.could_extract_minus_sign()), terms[0])
        return [first, *(term for term in terms if term is not first)]


class _Quotient(NamedTuple):
    negative: bool
    number: str
    over: list[sp.Expr]
    under: list[sp.Expr]

    @classmethod
    def of(cls, product: sp.Expr) -> _Quotient:
        coefficient, rest = product.as_coeff_Mul(rational=True)
        over, under = [], []
        for factor in sorted(sp.Mul.make_args(rest), key=_place):
            if _is_divisor(factor):
                under.append(1 / factor)
            elif factor != 1:
                over.append(factor)
        number = decimal(abs(coefficient))
        if number is None:
            number, under = str(abs(coefficient.p)), [sp.Integer(coefficient.q), *under]
        return cls(coefficient.is_negative, number, over, under)


def _place(factor: sp.Expr) -> tuple:
    of_triplet = bool(factor.free_symbols & {s_p, s_n, x_p, x_n})
    is_constant = not factor.free_symbols
    return factor.is_Add, of_triplet, not (factor.is_Symbol or is_constant), sp.default_sort_key(factor)


def _is_divisor(factor: sp.Expr) -> bool:
    """Whether a factor is 1/x with an x whose inverse is the factor. 1/1[x > 0]² is none: 1[x > 0]² is 1[x > 0]."""
    return factor.is_Pow and factor.exp.is_Rational and factor.exp.is_negative and 1 / (1 / factor) == factor


def decimal(number: sp.Rational) -> str | None:
    """A rational as the shortest decimal that reads back exactly; None where there is none."""
    if number.is_Integer:
        return str(number)
    if max(abs(number.p), number.q).bit_length() > 512:
        return None
    text = repr(float(number))
    return text if Fraction(text) == Fraction(number.p, number.q) else None


class Plain(_Order, StrPrinter):
    """Text that `parse` reads back."""

    def _print_Rational(self, number: sp.Rational) -> str:
        return decimal(number) or f"{number.p}/{number.q}"

    _print_Half = _print_Rational

    def _print_Exp1(self, _: sp.Expr) -> str:
        return "exp(1)"

    def _print_Abs(self, absolute: sp.Expr) -> str:
        return f"abs({self._print(absolute.args[0])})"

    def _print_Add(self, total: sp.Add, order: str | None = None) -> str:
        first, *others = self._as_ordered_terms(total, order=order)
        text = self._print(first)
        for term in others:
            minus = term.could_extract_minus_sign()
            text += " - " if minus else " + "
            text += self.parenthesize(-term if minus else term, _PRODUCT, strict=True)
        return text

    def _print_Mul(self, product: sp.Mul) -> str:
        quotient = _Quotient.of(product)
        number = "" if quotient.number == "1" else quotient.number
        sign = "-" if quotient.negative else ""
        over = self._factors(quotient.over)
        several = len(over) + len(quotient.under) > 1
        if over and quotient.over[0].is_Add and several and (sign or number):
            # Python would multiply the number into the sum: keep it outside.
            return f"{sign}{number and number + '*'}({self._over(over, quotient.under)})"
        return sign + self._over([number, *over] if number else over, quotient.under)

    def _over(self, over: list[str], under: list[sp.Expr]) -> str:
        text = "*".join(over) or "1"
        if len(under) > 1 and under[0].is_Integer and under[1].is_Add:  # as above
            return f"{self._over(over, under[1:])}/{under[0]}"
        if len(under) == 1:
            return f"{text}/{self.parenthesize(under[0], _PRODUCT)}"
        return f"{text}/({'*'.join(self._factors(under))})" if under else text

    def _factors(self, factors: list[sp.Expr]) -> list[str]:
        return [self.parenthesize(factor, _PRODUCT, strict=True) for factor in factors]

    def _print_Pow(self, power: sp.Pow, rational: bool = False) -> str:
        if _is_divisor(power):
            return self._over([], [1 / power])
        if power.exp is sp.S.Half:
            return f"sqrt({self._print(power.base)})"
        return "**".join(self._operand(x) for x in power.args)

    def _operand(self, x: sp.Expr) -> str:
        text = self._print(x)
        is_decimal = x.is_Rational and not x.is_negative and "/" not in text
        return text if is_decimal else self.parenthesize(x, _POWER)


class Latex(_Order, LatexPrinter):
    """LaTeX in the notation of the field."""

    def _print_Rational(self, number: sp.Rational) -> str:
        text = decimal(number)
        return super()._print_Rational(number) if text is None else _scientific(text)

    _print_Half = _print_Rational

    def _print_Mul(self, product: sp.Mul) -> str:
        quotient = _Quotient.of(product)
        number, under = _scientific(quotient.number), quotient.under
        coefficient = abs(product.as_coeff_Mul(rational=True)[0])
        if under and number != "1" and coefficient.p == 1 and coefficient.q < 10:
            number, under = "1", [sp.Integer(coefficient.q), *under]  # 1/(2τ) rather than 0.5/τ
        sign = "- " if quotient.negative else ""
        over = self._juxtaposed(number, quotient.over, bare=bool(under) or not sign)
        return sign + (rf"\frac{{{over}}}{{{self._juxtaposed('1', under, bare=True)}}}" if under else over)

    def _print_Pow(self, power: sp.Pow) -> str:
        if power.exp.is_Rational and power.exp.is_negative and not _is_divisor(power):
            return self._helper_print_standard_power(power, "%s^{%s}")
        return super()._print_Pow(power)

    def _juxtaposed(self, number: str, factors: list[sp.Expr], bare: bool) -> str:
        """A product without a sign between its factors. A single sum in it gets no parentheses if ``bare``."""
        if number == "1" and len(factors) == 1 and bare:
            return self._print(factors[0])
        text = "" if number == "1" and factors else number
        for factor in factors:
            this = self.parenthesize(factor, _PRODUCT, strict=True)
            text += (r" \cdot " if this[0].isdigit() else " ") * bool(text) + this
        return text

    def _print_Symbol(self, symbol: sp.Symbol, style: str = "plain") -> str:
        return _SYMBOLS.get(symbol) or _name(symbol.name)


_SYMBOLS = {s_p: "s_p", s_n: "s_n", x_p: "A^{+}", x_n: "A^{-}"}


def _scientific(number: str) -> str:
    digits, _, exponent = number.partition("e")
    return rf"{digits} \cdot 10^{{{int(exponent)}}}" if exponent else digits


def _name(name: str) -> str:
    head, *indices = re.findall(r"[^\W\d_]+|\d+", name) or [r"\_" * len(name)]
    return _word(head) + (rf"_{{{','.join(map(_word, indices))}}}" if indices else "")


def _word(word: str) -> str:
    known_as = unicodedata.name(word, "") if len(word) == 1 else ""
    greek = re.fullmatch(r"GREEK (SMALL|CAPITAL) LETTER (\w+)", known_as)
    if greek:
        word = greek[2].lower() if greek[1] == "SMALL" else greek[2].capitalize()
    word = "lambda" if word == "lam" else word  # Python keeps lambda for itself
    plain = word if len(word) == 1 or word.isdigit() else rf"\mathrm{{{word}}}"
    return tex_greek_dictionary.get(word, rf"\{word}" if word in greek_letters_set else plain)
