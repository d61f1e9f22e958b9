"""Time contenders in turns, so that a machine's moods meet all of them alike."""

import os
import platform
import sys
import time
from typing import Any, Callable, Dict, List

import numpy as np


def seconds_per_call(call: Callable[[], Any], calls: int) -> float:
    """Return the mean seconds of one of so many calls in a row."""
    started = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - started) / calls


def interleaved(
    contenders: Dict[str, Callable[[], Any]], rounds: int, seconds: float
) -> Dict[str, List[float]]:
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


def ratio(times: Dict[str, List[float]], ours: str, theirs: str) -> float:
    """Return how many times as fast ours is: the median over the rounds, each taken by itself."""
    return float(np.median(np.array(times[theirs]) / np.array(times[ours])))


def machine() -> Dict[str, Any]:
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
