"""Whatever text comes in: nothing is run, nothing hangs or fills the memory, and every refusal has a place."""

import builtins
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import sympy as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from goal_analysis.symbolic.language.primitives import gap, s_n, s_p
from goal_analysis.symbolic.parsing import FormulaError, parse

tau = sp.Symbol("tau", positive=True)
SYMBOLS = {"s_n": s_n, "s_p": s_p, "tau": tau, "τ": sp.Symbol("τ", real=True), "gap": gap}
SECONDS = 5.0
"""CPU time that one input may take; the slowest of all takes some 0.1 s, and beside garbage collection up to 2.6 s."""

VALID = (
    "softplus(tau*(s_n - s_p))/tau",
    "hinge(s_n - s_p + 0.2)**2",
    "(1 - s_p)**2/2 + s_n**2/2",
    "log(1 + exp(tau*(s_n - 0.5)))/tau",
    "s_n if s_n > s_p - 0.1 else 0",
    "logsumexp(0, tau*s_n, -tau*s_p)",
    "detach(1.25 - s_p)*tau*s_p",
    "max(s_n, s_p, 0) - min(s_n, s_p) + abs(gap)",
    "sqrt(2 - 2*s_p) + cos(pi*s_n)*sin(τ)",
)
_SHORT_ATTACKS = """
__import__('os').system('touch pwned')    open('pwned','w')    eval('1')    exec('1')    print(1)    input()
().__class__.__bases__[0].__subclasses__()    s_n.__class__    s_n.subs(s_n, 1)    getattr(s_n, 'func')
getattr(getattr(s_n,'__class__'),'__mro__')    (lambda: 1)()    [x for x in (1,)]    {s_n for s_n in (1,)}
(x := 1)    f'{s_n}'    f'{__import__("os")}'    '%s' % s_n    `id`    globals()    breakpoint()    yield
await s_n    *s_n    **s_n    exp(*[1])    exp(**{})    exp(x=1)    s_n; s_p    import os    ...    True
b'x'    9**9**9    9**9**9**9    ((10**60)**60)**60    2**(2**(2**(2**9)))    10**10**10    (s_n**64)**64
1e999999999    1/0    0**-1    0/0    1/(s_n - s_n)    log(0)    log(-1)    sqrt(-1)    (-1)**0.5
(-8)**(1/3)    exp(exp(9))    exp(10**60*log(2*s_n))    exp(tau*(10**60*log(2) + 1))
12**(7777777777/10000000019)    0e99999999999999    sin(10**90)    hinge(exp(exp(5)) - exp(exp(5)))
2**0.333    (2*s_n)**(10**9)    1.1**(10**9)    2**(10**100 + tau)    exp(7/9*log(12*10**18*s_n))
(12*s_n)**(7777/9999)    hinge(log((sqrt(2)+log(3)+sin(1)+exp(2))**30))    (s_n+s_p+tau+2)**64
exp(s_n*sin(log((sqrt(2)+log(3)+pi+exp(2))**30)))    1/(sqrt(2)+sqrt(3)-sqrt(5+2*sqrt(6)))    '\\d'    1__0
hinge((sqrt(2)+1)*(sqrt(3)+1)*(sqrt(5)+1)-sqrt(2)*sqrt(3)*sqrt(5))    ｅｘｐ(s_n)    𝐬_n    s_n #    if
else    lambda    lambda: 1    not s_n    1if 1<2else 3    0o7    0b1    s_n=1    s_n:1    s_n@s_p    ~s_n
s_n<<9999    !s_n
"""
ATTACKS = (
    *re.split(r"\n|\s{3,}", _SHORT_ATTACKS.strip()),
    *(
        "",
        " ",
        "\n",
        "\0",
        "s_n\0",
        "\ud800",
        "\N{RIGHT-TO-LEFT OVERRIDE}s_n",
        "s\N{ZERO WIDTH SPACE}_n",
        "s_n\\\n+1",
    ),
    *(f"{function}({'9' * 150})" for function in ("sqrt", "log", "sin", "exp", "hinge", "sigmoid")),
    *(f"{function}(" * n + "s_n" + ")" * n for function in ("sqrt", "exp", "log", "abs", "cos") for n in (20, 39)),
    *(
        "-" * 990 + "1",
        "(" * 990,
        "(" * 199 + "1" + ")" * 199,
        "(" * 400 + ")" * 400,
        "exp(" * 240,
        "[" * 900,
    ),
    *("s_n" + "**2" * 200, "+".join(["s_n"] * 240), "*".join(["(s_n+1)"] * 120), "/".join(["s_n"] * 240)),
    *(
        "1 if " * 150 + "s_n",
        "s_n if s_n > 0 else " * 38 + "1",
        "(1 if s_n > " * 30 + "0" + " else s_p)" * 30,
    ),
    *("min(" * 20 + "s_n" + ", s_p)" * 20, "max(s_n, " * 20 + "s_p" + ")" * 20, "1." + "3" * 900),
    *("logsumexp(" + ",".join(["s_n"] * 200) + ")", "max(" + ",".join(["s_n", "tau"] * 60) + ")"),
)
_PIECES = """
s_n s_p tau τ gap pi s_q 0 1 2 0.5 1e3 1e-300 64 65 1j 999999999999999999999999999999 + - * / ** // % ^ @ <
> <= == ( ) ( ) , . [ ] = := hinge( step( sigmoid( softplus( logsumexp( detach( exp( log( sqrt( sin( cos(
max( min( abs( if else lambda and not for in __import__ eval( ' " #
"""
PIECES = (*_PIECES.split(), "\n")


def _nested(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    names = ("hinge", "step", "sigmoid", "softplus", "detach", "exp", "log", "sqrt", "sin", "cos", "abs", "-")
    pairs = ("({}) + ({})", "({}) - {}", "({})*({})", "({})/({})", "({})**({})", "max({}, {})", "min({}, {})")
    triples = ("({} if ({}) > ({}) else 1)", "logsumexp({}, {}, {})", "({})*({}) - ({})")
    return (
        st.builds("{}({})".format, st.sampled_from(names), parts)
        | st.builds(str.format, st.sampled_from(pairs), parts, parts)
        | st.builds(str.format, st.sampled_from(triples), parts, parts, parts)
    )


def _mutated(text: str, edits: list[tuple[int, int, str]]) -> str:
    for at, drop, insert in edits:
        start = at % (len(text) + 1)
        text = text[:start] + insert + text[start + drop :]
    return text


_leaves = st.sampled_from([*SYMBOLS, "pi", "0", "1", "2", "3", "0.5", "1e-9", "64", "12345678901234567890", "7/9"])
_inserts = st.sampled_from(PIECES) | st.text(max_size=2)
_edits = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 3), _inserts), max_size=3)
_pairs = st.sampled_from(["{}{}", "({}) + ({})", "{1}({0})", "exp({})/({})"])
STRATEGIES = {
    "text": (st.text(max_size=300), 200),
    "pieces": (
        st.builds(str.join, st.sampled_from(["", " "]), st.lists(st.sampled_from(PIECES), max_size=40)),
        250,
    ),
    "nested": (st.recursive(_leaves, _nested, max_leaves=30), 600),
    "mutated": (st.builds(_mutated, st.sampled_from(VALID), _edits), 250),
    "attacks": (
        st.builds(str.format, _pairs, st.sampled_from(ATTACKS), st.sampled_from(ATTACKS + VALID)),
        150,
    ),
}
"""Inputs by kind, and how many of each."""


# --- nothing is run ------------------------------------------------------------------------------

_seen: list[str] | None = None


def _audit(event: str, arguments: tuple) -> None:
    """Python's own record of what a program does; it cannot be taken off again, so it looks at `_seen`."""
    # Raised by ast.parse too, which compiles to a tree; running what was compiled otherwise is an "exec".
    harmless = event == "compile" and arguments[1] == "<unknown>"
    if (
        _seen is not None
        and not harmless
        and not event.startswith(("object.", "builtins.id", "array.", "sys._getframe"))
    ):
        _seen.append(f"{event} {arguments[0] if arguments else ''!r}"[:200])


sys.addaudithook(_audit)


@contextmanager
def watched() -> Iterator[list[str]]:
    """What was run, imported, opened or started meanwhile."""
    global _seen
    _seen = events = []
    try:
        yield events
    finally:
        _seen = None


def check(text: str, parse: Callable = parse, most: float = SECONDS) -> bool:
    """Parse under watch; whether the text was accepted."""
    begin = time.process_time()
    error = result = None
    with watched() as events:
        try:
            result = parse(text, SYMBOLS)
        except FormulaError as refusal:
            error = refusal
    seconds = time.process_time() - begin
    assert not events, f"{text!r} made Python do {events}"
    assert seconds < most, f"{text!r} took {seconds:.1f} s"
    if error is None:
        assert result.free_symbols <= {*SYMBOLS.values(), *gap.free_symbols}
        assert not result.has(sp.zoo, sp.nan, sp.oo, sp.I, sp.Float), f"{text!r} gives {result}"
        return True
    assert 0 <= error.start <= error.end <= len(text)
    assert error.start < error.end or not text
    assert "got " in str(error)
    assert str(error).isprintable() or str(error).replace("\n", "").isprintable()
    return False


@pytest.fixture(scope="module", autouse=True)
def _everything_is_imported() -> None:
    """SymPy imports parts of itself when they are first needed."""
    for text in (*VALID, *ATTACKS):
        try:
            parse(text, SYMBOLS)
        except FormulaError as error:
            str(error)


@pytest.mark.parametrize("name", STRATEGIES)
def test_fuzz(name: str, record_property: Callable[[str, object], None]) -> None:
    strategy, examples = STRATEGIES[name]
    accepted: list[bool] = []

    @settings(max_examples=examples, database=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def fuzz(text: str) -> None:
        accepted.append(check(text))

    fuzz()
    record_property("inputs", len(accepted))
    record_property("accepted", sum(accepted))
    assert len(accepted) >= examples
    assert any(accepted) or name == "text", "inputs that are all refused at once would show little"
    assert not all(accepted)


@pytest.mark.parametrize("text", VALID)
def test_what_is_valid_is_accepted_under_watch(text: str) -> None:
    assert check(text)


@pytest.mark.parametrize("text", ATTACKS, ids=range(len(ATTACKS)))
def test_attacks_fail(text: str, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("eval", "exec", "open", "print", "input", "breakpoint"):
        monkeypatch.setattr(builtins, name, lambda *_, name=name: pytest.fail(f"{name} was called"))
    check(text)
    monkeypatch.undo()
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    "unsafe",
    [
        lambda text, symbols: eval(text, {}, symbols),
        lambda text, symbols: sp.sympify(text, symbols),
        lambda text, symbols: (os.system("true"), parse(text, symbols))[1],
        lambda text, symbols: (open(os.devnull).close(), parse(text, symbols))[1],
    ],
    ids=["eval", "sympify", "os.system", "open"],
)
def test_the_watch_sees_what_it_watches_for(unsafe: Callable) -> None:
    with pytest.raises(AssertionError, match="made Python do"):
        check("s_n - s_p", unsafe)


def test_the_clock_sees_a_slow_input() -> None:
    def slow(text: str, symbols: dict) -> sp.Expr:
        begin = time.process_time()
        while time.process_time() < begin + 0.1:
            pass
        return parse(text, symbols)

    with pytest.raises(AssertionError, match="took"):
        check("s_n", slow, most=0.1)


# --- nothing fills the memory --------------------------------------------------------------------

PROGRAM = """
import json, resource, sys
import sympy as sp
from goal_analysis.symbolic.parsing import arithmetic
from goal_analysis.symbolic.parsing import FormulaError, parse

bounds, seconds, texts = json.load(sys.stdin)
for name, value in bounds.items():
    setattr(arithmetic, name, value)
symbols = {name: sp.Symbol(name, real=True) for name in ("s_n", "s_p", "tau", "gap")}
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 200 * 2**20,) * 2)
resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for text in texts:
    try:
        parse(text * 10**7 if len(text) == 1 else text, symbols)
    except FormulaError as error:
        str(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def run_apart(texts: list[str], seconds: int, **bounds: int) -> subprocess.CompletedProcess:
    """Parse in a process with 200 MiB to spare; a text of one character is repeated to ten million there."""
    program = [sys.executable, "-c", PROGRAM]
    inputs = json.dumps([bounds, seconds, texts])
    return subprocess.run(program, input=inputs, capture_output=True, text=True, check=False)


only_linux = pytest.mark.skipif(sys.platform != "linux", reason="memory and time are limited the Linux way")


@only_linux
def test_attacks_and_ten_megabytes_take_little_memory() -> None:
    result = run_apart([*ATTACKS, *"(1-s\n日"], seconds=20)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) < 100, "MiB, of which 10 to 40 are the long text itself"


@only_linux
def test_without_the_bounds_a_power_never_ends() -> None:
    text = "7**(10**10)"
    assert run_apart([text], seconds=2).returncode == 0
    assert run_apart([text], seconds=2, MAX_BITS=10**30, MAX_EXPONENT=10**30).returncode != 0
