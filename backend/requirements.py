"""The versions that requirements.txt wants in an interpreter, and those that are installed.

Standard library only, on every Python from 3.6 on: this speaks where nothing else is installed.
"""

from __future__ import annotations

import operator
import os
import platform
import re
import sys
from typing import Mapping, NamedTuple, Sequence

_REQUIREMENTS = os.path.join(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "requirements.txt"
)
_OPERATORS = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}


class Machine(NamedTuple):
    """The interpreter that is examined."""

    python: tuple[int, int]
    platform: str  # as sys.platform
    bits: int
    wsl: bool = False


class Package(NamedTuple):
    """One line of requirements.txt that applies here, beside what is installed ("" for nothing)."""

    name: str
    wanted: str
    installed: str
    fits: bool


def this_machine() -> Machine:
    """Return the running interpreter."""
    return Machine(
        python=sys.version_info[:2],
        platform=sys.platform,
        bits=64 if sys.maxsize > 2**32 else 32,
        wsl=sys.platform == "linux" and "microsoft" in platform.release().lower(),
    )


def release(version: str) -> tuple[int, ...]:
    """Return the numbers that a version starts with, less trailing zeros: "2.10.0" is (2, 10)."""
    numbers = [int(part) for part in re.match(r"[0-9.]*", version).group().split(".") if part]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _normal(name: str) -> str:
    """Return a distribution's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def satisfies(version: str, wanted: str) -> bool:
    """Return whether a version lies in a range such as ">=1.16,<1.19" (a subset of PEP 440)."""
    for clause in filter(None, wanted.split(",")):
        compare, bound = re.match(r"\s*([<>=!]=|[<>])\s*(\S+)", clause).groups()
        # A development release equals only itself.
        if compare == "==" and re.search("[a-z]", bound):
            if version != bound:
                return False
        elif not _OPERATORS[compare](release(version), release(bound)):
            return False
    return True


def _applies(marker: str, machine: Machine) -> bool:
    """Return whether an environment marker (conditions joined by `and`, then by `or`) holds."""

    def holds(condition: str) -> bool:
        name, compare, value = re.match(r'(\w+) *([<>=!]=|[<>]) *"(.*)"$', condition).groups()
        if name == "python_version":
            return _OPERATORS[compare](machine.python, tuple(map(int, value.split("."))))
        return _OPERATORS[compare]({"sys_platform": machine.platform}[name], value)

    return any(
        all(holds(condition.strip()) for condition in alternative.split(" and "))
        for alternative in marker.split(" or ")
    )


def wanted_packages(machine: Machine, path: str = _REQUIREMENTS) -> dict[str, str]:
    """Return name -> version range, of the lines of requirements.txt that apply to a machine."""
    wanted = {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            requirement, _, marker = line.split("#")[0].strip().partition(";")
            if requirement and (not marker or _applies(marker.strip(), machine)):
                name, versions = re.match(r"([\w.-]*\w)\s*(.*)", requirement).groups()
                wanted[_normal(name)] = versions.strip()
    return wanted


def installed_packages(paths: Sequence[str] | None = None) -> dict[str, str]:
    """Return name -> version of what is installed, read off the names of the metadata folders.

    Python 3.7 has no importlib.metadata, and the names say all that is needed.
    """
    packages = {}
    for path in sys.path if paths is None else paths:
        try:
            entries = sorted(os.listdir(path or "."))
        except OSError:
            continue
        for entry in entries:
            match = re.match(r"([A-Za-z0-9].*?)-([0-9][^-]*?)(-py[^/]*)?\.(dist|egg)-info$", entry)
            if match:
                # The first on the path is the one that Python imports.
                packages.setdefault(_normal(match.group(1)), match.group(2))
    return packages


def compare_packages(packages: Mapping[str, str], machine: Machine) -> list[Package]:
    """Return each wanted package beside the installed one."""
    return [
        Package(
            name,
            wanted,
            packages.get(name, ""),
            name in packages and satisfies(packages[name], wanted),
        )
        for name, wanted in wanted_packages(machine).items()
    ]
