"""Random pieces of formulas: thresholds that are round (0.5), odd (0.51, 1/3) or on the edges of a grid, and shapes."""

from __future__ import annotations

import random
import re

ROUND = ("0", "0.1", "0.2", "0.25", "0.3", "0.4", "0.5", "0.6", "0.7", "0.75", "0.8")

ODD = ("0.51", "1/3", "0.137", "0.333", "0.49", "2/7", "0.617", "0.0625", "0.499")

SMOOTH = (
    "{s}",
    "1 - {s}",
    "{s}**2",
    "(1 - {s})**2",
    "{s}**3 - {s}",
    "exp({s})",
    "exp(2*{s})/5",
    "sin(3*{s})",
    "sigmoid(4*{s})",
    "softplus(6*{s})",
    "log(2 + {s})",
    "sqrt(2.5 - 2*{s})",
    "cos(2*{s}) - {s}/3",
)

RANGES = {
    "cosine": (-1.0, 1.0),
    "dot": (-4.0, 4.0),
    "negative_squared_euclidean": (-4.0, 0.0),
    "negative_euclidean": (-2.0, 0.0),
}


def number(r: random.Random, low: float = -1.0, high: float = 1.0) -> str:
    """A threshold within a range: round, odd, on the edge of a grid, or any."""
    stretch = (high - low) / 2
    for _ in range(50):
        text = r.choice(
            (
                r.choice(ROUND),
                r.choice(ODD),
                f"{r.randint(1, 23)}/24",
                f"{r.uniform(0, 1):.3f}",
                f"{r.randint(1, 15)}/16",
            )
        )
        if stretch > 1.5 and r.random() < 0.5:
            text = f"{text} + {r.randint(1, int(stretch))}" if "/" not in text else f"{r.randint(2, 7)}/2"
        text = text if r.random() < 0.65 and low < 0.3 < high else f"-({text})" if "+" in text else f"-{text}"
        if low < eval(text) < high:
            return text if re.fullmatch(r"[\d.]+", text) else f"({text})"
    return f"({(low + high) / 2})"


def smooth(r: random.Random, s: str) -> str:
    """A smooth function of one similarity."""
    return f"({r.choice(SMOOTH)})".format(s=s)


def kinked(r: random.Random, s: str, low: float, high: float) -> str:
    """A continuous function of one similarity with kinks."""
    c = number(r, low, high)
    return r.choice(
        (
            f"hinge({s} - {c})",
            f"hinge({c} - {s})",
            f"hinge({s} - {c})**2",
            f"abs({s} - {c})",
            f"max({s}, {c})",
            f"min({s}, {c}, {s}**2)",
            f"hinge({s}**2 - {c})",
            f"abs({s})**3",
            f"abs({s} - {c})**(3/2)",
            f"sqrt(0.1 + hinge({s} - {c}))",
            f"hinge(abs({s}) - {c})",
        )
    )


def joint(r: random.Random) -> str:
    """A continuous function of both similarities."""
    m, tau = number(r), r.choice((1, 2, 5, 10, 20))
    return r.choice(
        (
            "(s_n - s_p)",
            f"hinge(s_n - s_p + {m})",
            f"softplus({tau}*(s_n - s_p))",
            "s_n*s_p",
            "(s_n - s_p)**2",
            "exp(s_n - s_p)",
            f"log(exp({min(tau, 10)}*s_n) + exp({min(tau, 10)}*s_p))",
            f"hinge(s_n - s_p + {m})**2",
            f"sigmoid({tau}*(s_n - s_p))",
            "(s_n**2 - s_p)",
            f"{smooth(r, 's_n')}*{smooth(r, 's_p')}",
            f"({smooth(r, 's_n')} - {smooth(r, 's_p')})",
        )
    )


def surface(r: random.Random, low: float = -1.0, high: float = 1.0) -> str:
    """A function that is zero where weights are to have a kink."""
    s = r.choice(("s_p", "s_n"))
    other = "s_n" if s == "s_p" else "s_p"
    c, d = number(r, low, high), number(r, 0, high if high > 0 else 1)
    return r.choice(
        (
            f"{s} - {c}",
            f"abs({s}) - {d}",
            f"{s}**2 - {d}",
            f"{s}**3 - {c}",
            f"{s}**3",
            f"{d} - sqrt(4 - 2*{s})/2",
            "1 - sqrt(2 - 2*s_n)" if high <= 1 and low >= -1 else f"1 - sqrt(9 - 2*{s})",
            f"abs({s} - {c}) - {d}",
            f"s_n - s_p - {c}",
            f"s_n + s_p - {c}",
            f"s_n*s_p - {c}",
            f"s_n**2 + s_p**2 - {d}",
            f"exp({s}) + {other} - {d}",
            f"exp(s_n) + exp(s_p) - 2 - {d}",
            f"sin(3*{s}) - {c}",
            f"abs({s}) - abs({other})",
            f"hinge({s} - {c}) - {other}",
            f"max(s_n, s_p) - {c}",
            f"abs({s})**(3/2) - {d}",
            f"{s}**2 - {other} - {c}",
            f"(s_n - {c})*(s_p - {d})",
        )
    )


def factor(r: random.Random, low: float = -1.0, high: float = 1.0) -> str:
    """What stands beside a mask."""
    s = r.choice(("s_p", "s_n"))
    return r.choice((joint(r), joint(r), smooth(r, s), kinked(r, s, low, high), r.choice(("1", "2"))))


def masked(r: random.Random, low: float = -1.0, high: float = 1.0) -> str:
    """A loss that is cut off, mostly with a jump."""
    g, a = surface(r, low, high), factor(r, low, high)
    return r.choice(
        (
            f"{a} if {g} > 0 else 0",
            f"{a} if {g} > 0 else {factor(r, low, high)}",
            f"({a})*step({g})",
            f"{joint(r)} + ({a})*step({g})",
            f"({a})*step({g})*step({surface(r, low, high)})",
            f"{a} if {g} < 0 else 0",
        )
    )
