"""What Ctrl-C and SIGTERM, which schedulers send, do to a process that has others run for it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """A SIGTERM inside is a KeyboardInterrupt, where it would end the process otherwise."""
    if not _may_answer() or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def held_back() -> Iterator[None]:
    """A Ctrl-C or a SIGTERM inside is answered at the end, as it would have been at once; also where an error ends it.

    The signals are not blocked, for what is started inside would have them blocked for ever, but handled; those that
    the process ignores, or that end it, stay so.
    """
    if not _may_answer():
        yield
        return
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)

    answers = {n: answer for n in (signal.SIGINT, signal.SIGTERM) if callable(answer := signal.getsignal(n))}
    try:
        for number in answers:
            signal.signal(number, note)
        yield
    finally:
        for number, answer in answers.items():
            signal.signal(number, answer)
        for number in came:
            signal.raise_signal(number)


def _may_answer() -> bool:
    """Whether this is the main thread: no other may say what a signal does."""
    return threading.current_thread() is threading.main_thread()
