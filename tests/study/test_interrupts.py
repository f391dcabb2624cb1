"""What Ctrl-C and SIGTERM do where they are held back: nothing, and then what they would have done."""

import signal
import threading
from collections.abc import Iterator

import pytest

from goal_analysis.study.jobs import delayed_signals, sigterm_as_interrupt

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture(autouse=True)
def own_answers() -> Iterator[None]:
    """Of a program that a user has begun in the foreground, whoever runs the tests."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    for number, answer in before.items():
        signal.signal(number, answer)


@pytest.mark.parametrize("sent", SIGNALS)
@pytest.mark.parametrize("problem", [None, EOFError("the server was interrupted too")])
def test_a_signal_is_answered_at_the_end(sent: signal.Signals, problem: Exception | None) -> None:
    done = []

    def work() -> None:
        signal.raise_signal(sent)
        done.append(sent)
        if problem:
            raise problem

    with pytest.raises(KeyboardInterrupt), sigterm_as_interrupt(), delayed_signals():
        work()
    assert done == [sent]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_whoever_answers_a_signal_still_does() -> None:
    heard: list[str] = []

    def answer(number: int, frame: object) -> None:
        heard.append(signal.Signals(number).name)

    for number in SIGNALS:
        signal.signal(number, answer)
    with sigterm_as_interrupt(), delayed_signals():
        for number in SIGNALS:
            signal.raise_signal(number)
        assert heard == []
    assert heard == ["SIGINT", "SIGTERM"]
    assert [signal.getsignal(number) for number in SIGNALS] == [answer, answer]


def test_a_signal_that_is_ignored_stays_so() -> None:
    """As Ctrl-C is for what a shell has begun in the background, and for what that starts."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with delayed_signals():
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        signal.raise_signal(signal.SIGINT)


def test_other_threads_hold_nothing_back() -> None:
    seen: list[object] = []

    def work() -> None:
        with sigterm_as_interrupt(), delayed_signals():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]
