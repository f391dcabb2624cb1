"""The formulas that losses are published with, as their docstrings write them in a line, in LaTeX."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import chain

WIDE = 70  # letters of a line; what comes after a comma and a gap in a longer one is a row of its own
FUNCTIONS = {"log", "exp", "max", "min", "cos", "sin"}
WORDS = {"mean": "mean", "sg": "sg", "artanh": "artanh"}
SIGNS = {
    "−": "-",
    "·": r"\cdot ",
    "Σ": r"\sum ",
    "½": r"\tfrac{1}{2}",
    "≤": r"\le ",
    "≥": r"\ge ",
    "∈": r"\in ",
    "≠": r"\ne ",
    "#": r"\#",
    "{": r"\{",
    "}": r"\}",
    "²": "^{2}",
    "³": "^{3}",
    "⁴": "^{4}",
    "⁺": "^{+}",
    "⁻": "^{-}",
    "₊": "_{+}",
    "∂": r"\partial ",
    "√": r"\surd ",
    "∞": r"\infty ",
    "…": r"\ldots ",
    "→": r"\to ",
    "×": r"\times ",
    "%": r"\%",
}
PLAIN = set("+-=<>()[]|,;:./!*")
GREEK = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "θ": "theta", "λ": "lambda", "μ": "mu",
    "π": "pi", "σ": "sigma", "τ": "tau", "φ": "varphi", "ψ": "psi", "ω": "omega", "η": "eta", "κ": "kappa", "ρ": "rho",
    "Δ": "Delta", "Φ": "Phi", "Ψ": "Psi",
}  # fmt: skip
LETTER, LOW = r"[^\W\d_Σ²³⁴½]", r"[^\W_Σ²³⁴½]"
TOKEN = re.compile(rf" {{2,}}|{LETTER}+(?:_{LOW}+)*′?|\d+(?:\.\d+)?|\S| ")


def block(docstring: str) -> str:
    """The indented formula of a docstring as it stands; empty where there is none."""
    found = re.search(r"^((?:    .*\n?)+)", docstring, re.MULTILINE)
    return found[1].rstrip() if found else ""


def to_latex(text: str, knobs: Iterable[str] = ()) -> str:
    r"""A formula of one or several lines in LaTeX, a line a row.

    Args:
        text: as a docstring has it, such as ``L = Σ_n [s_n − s_p]₊``.
        knobs: names of hyperparameters, which are no prose.

    Raises:
        ValueError: a sign that is not known.

    >>> print(to_latex("L = −log Σ_n exp(tau·s_n),  s = cos θ", ["tau"]))
    L = -\log \sum _{n} \exp (\tau \cdot s_{n}),\quad s = \cos \theta
    """
    lines = (line.strip() for line in text.strip().splitlines())
    parts = (re.split(r"(?<=,) {2,}", line) if len(line) > WIDE else [line] for line in lines)
    rows = [_line(part, set(knobs)) for part in chain.from_iterable(parts)]
    if len(rows) == 1:
        return rows[0]
    aligned = (row.replace("=", "&=", 1) if re.match(r"[^(]{1,40}=", row) else rf"& \quad {row}" for row in rows)
    return "\\begin{aligned} " + " \\\\ ".join(aligned) + " \\end{aligned}"


def _line(line: str, knobs: set[str]) -> str:
    found: list[str] = []
    prose: list[str] = []

    def ended() -> None:
        if prose:
            found.append(rf"\text{{ {' '.join(prose)} }}" if found else rf"\text{{{' '.join(prose)} }}")
            prose.clear()

    tokens = TOKEN.findall(line)
    for i, token in enumerate(tokens):
        if token == " " and prose:
            continue
        if _is_prose(token, knobs):
            prose.append(token)
            continue
        ended()
        raised = i > 0 and tokens[i - 1] in ("^", "_")
        if token.startswith("  "):
            found.append(r"\quad ")
        elif token in ("^", "_"):
            found.append(token)
        else:
            found.append(f"{{{_token(token, knobs)}}}" if raised else _token(token, knobs))
    ended()
    return re.sub(r"(?<=\S) +", " ", "".join(found)).strip()


def _is_prose(token: str, knobs: set[str]) -> bool:
    head = token.rstrip("′").partition("_")[0]
    known = token in knobs or head in knobs or head in FUNCTIONS or head in WORDS
    return len(head) > 1 and head[0].isalpha() and not known and not set(head) & set(GREEK) and "_" not in token


def _token(token: str, knobs: set[str]) -> str:
    if token in SIGNS:
        return SIGNS[token]
    if token == " " or token in PLAIN or token[0].isdigit():
        return token
    if not token[0].isalpha():
        raise ValueError(f"formula: got the sign {token!r} but expected one of {' '.join(SIGNS)}")
    if token in knobs and "_" in token and len(token.partition("_")[0]) > 1 and not _greek(token.partition("_")[0]):
        return rf"\mathrm{{{token.replace('_', chr(92) + '_')}}}"
    head, _, low = token.rstrip("′").partition("_")
    prime = "'" * token.endswith("′")
    if not low:
        return _name(head) + prime
    below = low if len(low) < 3 else rf"\mathrm{{{low}}}"
    return f"{_name(head)}_{{{below}{prime}}}"


def _greek(name: str) -> str:
    if name in GREEK:
        return rf"\{GREEK[name]} "
    return rf"\{name} " if name in GREEK.values() else ""


def _name(head: str) -> str:
    if head in FUNCTIONS:
        return rf"\{head} "
    if head in WORDS:
        return rf"\operatorname{{{WORDS[head]}}}"
    if _greek(head):
        return _greek(head)
    letters = [_greek(letter) or letter for letter in head]
    return "".join(letters) if len(head) == 1 or set(head) & set(GREEK) else rf"\mathrm{{{head}}}"
