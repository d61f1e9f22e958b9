"""Time contenders in turns, so that load changes affect all contenders equally."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import platform
import sys
import time
from typing import Any, Callable

import numpy as np

# The large product of two square matrices that shows what the machine can do at most.
PRODUCT_SIZE = 2048
PRODUCT_FLOPS = 2 * PRODUCT_SIZE**3


class Contender:
    """A process for one contender, because thread settings and memory are those of a process.

    factory is "module:function"; the function, called over there, returns the functions that a call
    runs by their names. SystemExit, with one line that says why, when the contender fails.
    """

    def __init__(self, name: str, factory: str, *arguments: Any):
        self.name = name
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, factory, arguments), daemon=True
        )
        self._process.start()
        # Theirs alone now: when their process ends, so does the wait for an answer.
        theirs.close()
        self._answer()

    def __call__(self, function: str) -> Any:
        """Return what a function of the contender returns."""
        self._connection.send(function)
        return self._answer()

    def _answer(self) -> Any:
        try:
            result, problem = self._connection.recv()
        except (EOFError, OSError):
            self._process.join()
            problem = f"its process ended with code {self._process.exitcode}"
        if problem:
            raise SystemExit(f"{self.name} failed: {problem}")
        return result

    def __enter__(self) -> Contender:
        return self

    def __exit__(self, *exception: Any) -> None:
        # It ends by itself when nobody can call it any more, unless it is in the middle of a call.
        self._connection.close()
        self._process.join(timeout=5)
        self._process.terminate()
        self._process.join()


def _serve(connection, factory: str, arguments: tuple) -> None:
    """Make a contender and answer calls until the process is ended."""
    try:
        module, function = factory.split(":")
        functions = getattr(importlib.import_module(module), function)(*arguments)
        connection.send((None, None))
        while True:
            connection.send((functions[connection.recv()](), None))
    except (EOFError, KeyboardInterrupt):
        pass
    except Exception as problem:
        reason = " ".join(f"{type(problem).__name__}: {problem}".split())
        connection.send((None, reason[:300]))


def seconds_per_call(call: Callable[[], Any], calls: int) -> float:
    """Return the mean seconds of one of so many calls in a row."""
    started = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - started) / calls


def interleaved(
    contenders: dict[str, Callable[[], Any]], rounds: int, seconds: float
) -> dict[str, list[float]]:
    """Return the seconds per call of each contender in each round, after two calls to warm up.

    In every round each contender is called for about so many seconds, one after the other.
    """
    calls = {}
    for name, call in contenders.items():
        call()
        calls[name] = max(1, int(round(seconds / seconds_per_call(call, 1))))
    times = {name: [] for name in contenders}  # type: Dict[str, List[float]]
    for _ in range(rounds):
        for name, call in contenders.items():
            times[name].append(seconds_per_call(call, calls[name]))
    return times


def square_matrix() -> np.ndarray:
    """Return a matrix for the large product, float32 (PRODUCT_SIZE, PRODUCT_SIZE)."""
    return np.random.RandomState(0).normal(size=(PRODUCT_SIZE, PRODUCT_SIZE)).astype(np.float32)


def ratio(times: dict[str, list[float]], ours: str, theirs: str) -> float:
    """Return how many times as fast ours is: the median over the rounds, each taken by itself."""
    return float(np.median(np.array(times[theirs]) / np.array(times[ours])))


def machine() -> dict[str, Any]:
    """Return what a reader needs to know to compare figures, and how busy the machine was."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "load_before": load,
    }


def _processor() -> str:
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for text in file:
                if text.startswith("model name"):
                    return text.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def peak_bytes() -> float:
    """Return the most memory this process has held so far; NaN on Windows, which is not asked."""
    try:
        import resource
    except ImportError:
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024)
