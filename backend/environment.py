"""What is installed against what TensorFlow-DirectML needs, known before TensorFlow is imported.

`preflight` is what a script calls first: a broken environment becomes a short table with the
commands that fix it, not a traceback. `python -m tools.doctor` says the same and more. Standard
library only; `requirements.txt` is the only list of versions.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from typing import Mapping, NamedTuple, Sequence

from backend import requirements
from backend.requirements import Machine, Package, release, satisfies

# A problem stops TensorFlow or the training (exit code 2); a warning does not.
PROBLEM = "PROBLEM"
WARNING = "WARNING"
# The adapter that a script selects where the user has not: 0 is the fastest by DirectX's own order.
DEFAULT_ADAPTER = "0"

PLUGIN = "tensorflow-directml-plugin"
# Distributions that install the package `tensorflow` itself: two overwrite each other's files.
_FLAVOURS = (
    "tensorflow-directml",
    "tensorflow-cpu",
    "tensorflow",
    "tensorflow-gpu",
    "tensorflow-rocm",
    "tf-nightly",
)
# Pythons for which Microsoft has published wheels: from, up to but without.
DIRECTML_PYTHONS = {"tensorflow-directml": ((3, 5), (3, 8)), PLUGIN: ((3, 7), (3, 11))}
# Training works without the right version of these.
_OPTIONAL = ("setuptools", PLUGIN)
# Outside a pin, and yet seen to work: many use protobuf 3.20 with TensorFlow 2.10.
_TOLERATED = {"protobuf": "<4"}
# What a person sees when the pin of a package is broken, on the runtime that expects this flavour.
_SYMPTOMS = {
    ("tensorflow-directml", "numpy"): "Cannot convert a symbolic Tensor to a numpy array",
    ("tensorflow-directml", "protobuf"): "Descriptors cannot not be created directly",
    ("tensorflow-directml", "h5py"): "weights: 'str' object has no attribute 'decode'",
    ("tensorflow-cpu", "numpy"): "Unable to convert function return value to a Python type",
    ("tensorflow-cpu", "protobuf"): "Descriptors cannot be created directly",
    ("tensorflow-cpu", "tensorflow-cpu"): "undefined symbol, or tfdml_plugin.dll not found",
    ("tensorflow-cpu", "setuptools"): "the tensorboard command: No module named 'pkg_resources'",
    ("tensorflow-cpu", PLUGIN): "without it only the CPU trains",
    ("tensorflow", "tf-keras"): "it is Keras 2, the one dialect of this project",
}
WSL_LIBRARY = "/usr/lib/wsl/lib/libd3d12.so"


class EnvironmentProblem(ValueError):  # noqa: N818
    """TensorFlow cannot work here; the message is the table of what is wrong and what fixes it."""


class Finding(NamedTuple):
    """One thing that is wrong, and the commands that fix it, one a line."""

    severity: str  # PROBLEM or WARNING
    what: str
    fix: str


# ---------------------------------------------------------------- what is wrong, and what fixes it


def _python() -> str:
    """Return the command that starts this interpreter: `python`, where that is the one."""
    found = shutil.which("python")
    folders = [os.path.normcase(os.path.dirname(path)) for path in (found or "", sys.executable)]
    if folders[0] == folders[1]:
        return "python"
    return f'"{sys.executable}"' if " " in sys.executable else sys.executable


def _pip(*arguments: str) -> str:
    quoted = [f'"{word}"' if re.search(r"[<>=\[]", word) else word for word in arguments]
    return " ".join([_python(), "-m pip"] + quoted)


def reinstall_command() -> str:
    """Return the command that installs every pin."""
    return _pip("install", "-r", "requirements.txt")


def new_environment_commands(machine: Machine) -> str:
    """Return the commands that make a virtual environment with the plug-in's newest Python."""
    if machine.platform == "win32":
        return (
            "winget install --architecture x64 Python.Python.3.10\n"
            "py -3.10 -m venv .venv\n"
            r".venv\Scripts\python -m pip install -r requirements.txt"
        )
    return "python3.10 -m venv .venv\n.venv/bin/python -m pip install -r requirements.txt"


def unset_command(name: str, machine: Machine) -> str:
    """Return the command that removes an environment variable."""
    if machine.platform == "win32":
        return f'set "{name}="  (PowerShell: Remove-Item Env:{name})'
    return "unset " + name


def python_name(machine: Machine) -> str:
    """Return such as "Python 3.10"."""
    return "Python {}.{}".format(*machine.python)


def expected_flavour(machine: Machine) -> str:
    """Return the distribution of TensorFlow that requirements.txt names for an interpreter."""
    wanted = requirements.wanted_packages(machine)
    return next(name for name in _FLAVOURS if name in wanted)


def find_problems(
    packages: Mapping[str, str], machine: Machine, variables: Mapping[str, str]
) -> list[Finding]:
    """Return what keeps TensorFlow, or its GPU, from working, as far as versions tell.

    Args:
      packages: name -> version of what is installed.
      machine: the interpreter.
      variables: environment variables.
    """
    if machine.bits != 64:
        what = f"this Python is {machine.bits}-bit, and TensorFlow exists for 64 bits only"
        return [Finding(PROBLEM, what, new_environment_commands(machine))]
    expected = expected_flavour(machine)
    strangers = [
        name
        for name, (first, last) in DIRECTML_PYTHONS.items()
        if name in packages and not first <= machine.python < last
    ]
    if strangers:
        what = (
            f"{strangers[0]} {packages[strangers[0]]} is installed, but no build of it fits "
            f"{python_name(machine)}"
        )
        fix = "{}\n{}\nor, for a DirectX 12 GPU:\n{}".format(
            _pip("uninstall", "-y", *strangers),
            reinstall_command(),
            new_environment_commands(machine),
        )
        return [Finding(PROBLEM, what, fix)]
    flavours = [name for name in _FLAVOURS if name in packages]
    if not flavours:
        what = "TensorFlow is not installed"
        if PLUGIN in packages:
            what = f"{PLUGIN} {packages[PLUGIN]} is installed without TensorFlow, which it extends"
        return [Finding(PROBLEM, what, reinstall_command())]
    if len(flavours) > 1:
        what = "{} are installed together and overwrite each other's files".format(
            " and ".join(f"{name} {packages[name]}" for name in flavours)
        )
        fix = "{}\n{}".format(_pip("uninstall", "-y", *flavours), reinstall_command())
        return [Finding(PROBLEM, what, fix)]
    findings = _wrong_versions(packages, machine, flavours[0])
    if expected == "tensorflow" and not findings:
        findings = _wrong_keras(packages, machine, variables)
    return sorted(findings, key=lambda finding: finding.severity != PROBLEM)


def _wrong_versions(packages: Mapping[str, str], machine: Machine, flavour: str) -> list[Finding]:
    """Compare the one TensorFlow that is installed, and then everything else, with the pins."""
    wanted, expected = requirements.wanted_packages(machine), expected_flavour(machine)
    findings = []
    fits = satisfies(packages[flavour], wanted[expected])
    # Where no DirectML is expected, a TensorFlow for CUDA or the CPU only is as good.
    if not fits or (flavour != expected and expected != "tensorflow"):
        beside = PLUGIN in wanted and PLUGIN in packages
        what = "{} {} is installed{} needs {}{}".format(
            flavour,
            packages[flavour],
            " beside the DirectML plug-in, which"
            if beside
            else f"; with {python_name(machine)} this project",
            expected,
            wanted[expected],
        )
        fix = _pip("install", expected + wanted[expected])
        if flavour != expected:
            fix = "{}\n{}".format(_pip("uninstall", "-y", flavour), reinstall_command())
        if not beside and flavour != expected != "tensorflow":
            what += ": untested, and without DirectML"
            findings.append(Finding(WARNING, what, fix))
            if not fits:
                # The pins below are those of another TensorFlow.
                return findings
        else:
            findings.append(Finding(PROBLEM, _with_symptom(what, expected, expected), fix))
    for package in requirements.compare_packages(packages, machine):
        if package.fits or package.name in _FLAVOURS:
            continue
        what = "{} is {}; {} needs {}{}".format(
            " ".join(filter(None, (package.name, package.installed))),
            "installed" if package.installed else "not installed",
            flavour if (expected, package.name) in _SYMPTOMS else "this project",
            package.name,
            package.wanted,
        )
        severity = WARNING if package.name in _OPTIONAL else PROBLEM
        tolerated = _TOLERATED.get(package.name)
        if tolerated and package.installed and satisfies(package.installed, tolerated):
            severity, what = WARNING, what + ", though this one works"
        else:
            what = _with_symptom(what, expected, package.name)
        findings.append(Finding(severity, what, _pip("install", package.name + package.wanted)))
    return findings


def _with_symptom(what: str, expected: str, name: str) -> str:
    symptom = _SYMPTOMS.get((expected, name))
    return f"{what} ({symptom})" if symptom else what


def _wrong_keras(
    packages: Mapping[str, str], machine: Machine, variables: Mapping[str, str]
) -> list[Finding]:
    """Find Keras 2 switched off, and the tf_keras of another TensorFlow, on current TensorFlow."""
    findings = []
    legacy = variables.get("TF_USE_LEGACY_KERAS", "1")
    if legacy not in ("1", "true", "True"):
        what = f"TF_USE_LEGACY_KERAS={legacy} switches off Keras 2, which this project needs"
        findings.append(Finding(PROBLEM, what, unset_command("TF_USE_LEGACY_KERAS", machine)))
    version, keras_version = packages.get("tensorflow", ""), packages.get("tf-keras", "")
    series = ".".join(version.split(".")[:2])
    if version and keras_version and release(keras_version)[:2] != release(series):
        what = f"tf_keras {keras_version} belongs to another TensorFlow than {version}"
        fix = _pip("install", f"tf_keras=={series}.*")
        findings.append(Finding(WARNING, what, fix))
    return findings


def no_gpu_advice(machine: Machine | None = None) -> str:
    """Return, in a few lines, what to do where TensorFlow finds no GPU."""
    machine = machine or requirements.this_machine()
    directml = any(name in requirements.wanted_packages(machine) for name in DIRECTML_PYTHONS)
    if machine.platform == "darwin":
        return "DirectML does not exist on macOS: there the CPU trains."
    if machine.platform == "win32":
        if directml:
            return (
                "Update the graphics driver, from AMD, Intel or NVIDIA themselves. DirectML needs\n"
                "Windows 10 (1709) and AMD R5/R7/R9 200, Intel HD 500, NVIDIA GTX 900, or newer."
            )
        return (
            "On Windows only DirectML trains on a GPU, and its newest Python is "
            f"3.10:\n{new_environment_commands(machine)}"
        )
    if directml:
        cuda = (
            "python3.11 -m venv .venv-cuda\n"
            '.venv-cuda/bin/python -m pip install -r requirements.txt "tensorflow[and-cuda]"'
        )
    else:
        cuda = _pip("install", "tensorflow[and-cuda]")
    cuda = "For an NVIDIA GPU through CUDA:\n" + cuda
    if not machine.wsl:
        return "DirectML needs Windows or WSL 2; on Linux itself it trains on the CPU.\n" + cuda
    if directml:
        return (
            "Update the graphics driver in Windows; then, in PowerShell,\n"
            "wsl --update\n"
            "wsl --shutdown\n"
            f"The distribution must be WSL 2, and have {WSL_LIBRARY}."
        )
    return f"{cuda}\nFor any other GPU, through DirectML:\n{new_environment_commands(machine)}"


# ---------------------------------------------------------------- what a script calls


def findings_text(findings: Sequence[Finding]) -> str:
    """Return the findings as text, each with its commands that fix it below it."""
    lines = []
    for finding in findings:
        lines.append(f"{finding.severity:9}{finding.what}")
        for number, line in enumerate(finding.fix.splitlines()):
            lines.append(f"{'' if number else '    fix':9}{line}")
    return "\n".join(lines)


def packages_text(packages: Sequence[Package]) -> str:
    """Return the table of wanted and installed packages."""
    rows = [("Package", "wanted", "installed", "")]
    rows += [
        (row.name, row.wanted, row.installed or "-", "" if row.fits else "<--") for row in packages
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths + [0])).rstrip()
        for row in rows
    )


def check_installed() -> None:
    """Raise EnvironmentProblem where TensorFlow cannot work here; costs a few milliseconds."""
    machine, packages = requirements.this_machine(), requirements.installed_packages()
    problems = [
        finding
        for finding in find_problems(packages, machine, os.environ)
        if finding.severity == PROBLEM
    ]
    if problems:
        table = packages_text(requirements.compare_packages(packages, machine))
        raise EnvironmentProblem(
            f"TensorFlow cannot train here ({python_name(machine)}).\n\n"
            f"{findings_text(problems)}\n\n{table}"
        )


def preflight() -> None:
    """Leave with the table of what is wrong and exit code 2 where TensorFlow cannot work here.

    To be called before TensorFlow is imported.
    """
    try:
        check_installed()
    except EnvironmentProblem as problem:
        print(problem, file=sys.stderr)
        sys.exit(2)


def select_adapter(dml_visible_devices: str) -> None:
    """Make DirectML use these adapters; a DML_VISIBLE_DEVICES that the user has set wins.

    Args:
      dml_visible_devices: indices separated by commas, such as "0" or "1,0"; "" for all adapters.

    Raises:
      ValueError: for anything else; DirectML would silently train on the CPU.
      RuntimeError: where TensorFlow is imported already: it has read the variable.
    """
    if not re.match(r"([0-9]+(,[0-9]+)*)?\Z", dml_visible_devices):
        raise ValueError(
            f"DML_VISIBLE_DEVICES is {dml_visible_devices!r}; accepted are adapter indices "
            "separated by commas, such "
            'as "0" or "1,0", and "" for all adapters'
        )
    if "DML_VISIBLE_DEVICES" in os.environ or not dml_visible_devices:
        return
    if "tensorflow" in sys.modules:
        raise RuntimeError("the adapter must be selected before TensorFlow is imported")
    os.environ["DML_VISIBLE_DEVICES"] = dml_visible_devices
