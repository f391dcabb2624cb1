"""Ctrl-C, SIGTERM and SIGHUP, where they would end the process."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def signals_handled(handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Let a function handle the signals that would end this process; in the main thread alone, as Python has it."""
    known = [number for name in ("SIGINT", "SIGTERM", "SIGHUP") if (number := getattr(signal, name, None))]
    in_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in known if in_main}
    ending = [number for number, does in before.items() if does in (signal.SIG_DFL, signal.default_int_handler)]
    try:
        for number in ending:
            signal.signal(number, handler)
        yield
    finally:
        for number in ending:
            signal.signal(number, before[number])


@contextmanager
def signals_noted() -> Iterator[Callable[[], bool]]:
    """Whether a signal has asked this process to end; the second of them is a KeyboardInterrupt."""
    asked: list[int] = []

    def note(number: int, _: Any) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    with signals_handled(note):
        yield lambda: bool(asked)
