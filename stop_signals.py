"""Ctrl-C and SIGTERM as a wish that the training loop sees to."""

import signal
from typing import Optional

import console


class StopSignals:
    """Note Ctrl-C and SIGTERM instead of dying of them; the second one stops at once."""

    def __init__(self):
        self.received: Optional[int] = None

    def __enter__(self):
        self._before = {
            number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def __exit__(self, *exception):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number, frame):
        if self.received:
            raise KeyboardInterrupt
        self.received = number
        console.line("\nFinishing this step, then saving. (Again: stop at once.)")
