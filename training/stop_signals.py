"""Ctrl-C, SIGTERM, a closed terminal: finish the step and save; outside training, exit at once."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from typing import Iterator

MESSAGE = b"\nFinishing this step, then saving. (Again: stop at once.)\n"


class StopSignals:
    """Turn these signals into KeyboardInterrupt, which `postponed()` holds back once."""

    def __init__(self):
        self.received: int | None = None
        self._postponing = False
        self._before = {}

    @property
    def exit_code(self) -> int:
        """128 + signal, as a shell reports a program that a signal has ended."""
        return 128 + (self.received or signal.SIGINT)

    def __enter__(self):
        # Python lets only the main thread handle signals; in another one they stay as they are.
        if threading.current_thread() is threading.main_thread():
            # SIGHUP comes when a terminal is closed. Windows has none.
            hang_up = [signal.SIGHUP] if hasattr(signal, "SIGHUP") else []
            for number in [signal.SIGINT, signal.SIGTERM] + hang_up:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception):
        for number, handler in self._before.items():
            signal.signal(number, handler or signal.SIG_DFL)

    @contextlib.contextmanager
    def postponed(self) -> Iterator[None]:
        """Only note the first signal in this block, and stop at its end; the second is not held."""
        self._postponing = True
        try:
            yield
        finally:
            self._postponing = False
        if self.received:
            raise KeyboardInterrupt

    def _note(self, number, frame):
        at_once = self.received or not self._postponing
        self.received = self.received or number
        if at_once:
            raise KeyboardInterrupt
        # Not `print`: the signal may have come in the middle of one.
        with contextlib.suppress(OSError):
            os.write(2, MESSAGE)
