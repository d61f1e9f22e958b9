"""What stands between this machine and training on its GPU, and the command that fixes it.

    python -m tools.doctor                  the facts, problems first
    python -m tools.doctor --json           the same facts for a program
    python -m tools.doctor --audit SCRIPT   operations of its training step without DirectML kernel
    python -m tools.doctor --check          a training step on the GPU against the same on the CPU

Exit code: 0 where a GPU will train, 1 where the CPU will, 2 where nothing can. Versions are read
first; TensorFlow is imported last and in a child process, so the doctor speaks where it cannot be.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
from typing import Any, Mapping, NamedTuple, Sequence

from backend import environment, requirements
from backend.environment import PROBLEM, WARNING, Finding
from backend.requirements import Machine, Package

_BOTH = ("tensorflow-directml", environment.PLUGIN)
# Every variable that the released DirectML libraries read: which of the two does, and the meaning.
VARIABLES = {
    "DML_VISIBLE_DEVICES": (_BOTH, "adapters to use, by index"),
    "TF_DIRECTML_PATH": (_BOTH, "folder of another DirectML library"),
    "TF_DIRECTML_KERNEL_CACHE_SIZE": (_BOTH, "number of compiled kernels kept"),
    "TF_DIRECTML_BATCH_FLUSH_SIZE": (_BOTH, "operations sent to the GPU at once"),
    "TF_DIRECTML_BATCH_FLUSH_TIME": (_BOTH, "microseconds after which operations are sent"),
    "TF_DIRECTML_USE_COMPUTE_QUEUE": (_BOTH, "use the compute queue"),
    "TF_DIRECTML_MAX_HEAP_TILES": (_BOTH, "size of a memory heap, in tiles of 64 KB"),
    "TF_DIRECTML_FORCE_PLACED_RESOURCES": (_BOTH, "true: no tiled resources"),
    "TF_DIRECTML_MAX_ALLOC_SIZE": (("tensorflow-directml",), "largest allocation"),
    "TF_DIRECTML_TRACE_LEVEL": (("tensorflow-directml",), "event tracing"),
    "TF_DIRECTML_TRACE_PIX_LEVEL": ((environment.PLUGIN,), "tracing for PIX"),
    "TF_DIRECTML_TRACE_ETW_LEVEL": ((environment.PLUGIN,), "event tracing"),
    "TF_DIRECTML_TRACE_PROFILER_LEVEL": ((environment.PLUGIN,), "tracing for the profiler"),
}
# Seconds that `import tensorflow` may take on a cold disk.
_TIMEOUT = 180
_MARK = "doctor: "
_PROBE = """
import json
import tensorflow as tf

first = tf.__version__.startswith("1.")
config = tf.config.experimental if first else tf.config
devices = config.list_physical_devices("DML" if first else "GPU")
names = []
for device in devices:
    name = device.name.split("physical_device:")[-1]
    if hasattr(tf.config.experimental, "get_device_details"):
        name = tf.config.experimental.get_device_details(device).get("device_name", name)
    names.append(name)
# Naming the version makes TensorFlow load Keras, which it puts off otherwise.
keras = getattr(tf.keras, "__version__", None) or __import__("tf_keras").__version__
print("doctor: " + json.dumps([tf.__version__, keras, names]))
"""


class Report(NamedTuple):
    """All that the doctor knows; exit_code: 0 a GPU will train, 1 the CPU, 2 nothing can."""

    exit_code: int
    verdict: str
    findings: list[Finding]
    facts: dict[str, str]
    packages: list[Package]
    adapters: list[str]
    selected: list[str]


class Probe(NamedTuple):
    """What importing TensorFlow in a child process brought to light."""

    error: str
    tensorflow: str = ""
    keras: str = ""
    devices: Sequence[str] = ()


def probe_tensorflow(adapters: str, timeout: float = _TIMEOUT) -> Probe:
    """Import TensorFlow in a child process, which may crash or hang, and list its GPUs.

    Args:
      adapters: value of DML_VISIBLE_DEVICES for the child; "" lists all adapters.
      timeout: seconds after which the child is stopped.
    """
    variables = dict(os.environ, DML_VISIBLE_DEVICES=adapters, TF_CPP_MIN_LOG_LEVEL="0")
    variables.setdefault("TF_USE_LEGACY_KERAS", "1")
    # DirectML writes the names of its adapters to the log, at this level only.
    variables["TF_CPP_VMODULE"] = "dml_device_cache=1,logging=1"
    try:
        child = subprocess.run(
            [sys.executable, "-c", _PROBE],
            env=variables,
            capture_output=True,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired:
        return Probe(f"no answer within {timeout:g} seconds")
    output = child.stdout.decode("utf-8", "replace")
    log = child.stderr.decode("utf-8", "replace").replace("\0", "")
    answers = [line[len(_MARK) :] for line in output.splitlines() if line.startswith(_MARK)]
    if child.returncode != 0 or not answers:
        return Probe(_last_error(log) or f"the process ended with {child.returncode}")
    version, keras_version, devices = json.loads(answers[-1])
    named = re.findall(r"DirectML adapter \d+: (.*)", log)
    return Probe("", version, keras_version, named or devices)


def _last_error(log: str) -> str:
    """Return the line of a traceback that names the exception, "" where there is none."""
    errors = re.findall(r"^(?:\w+\.)*\w*(?:Error|Exception)\b.*", log, re.MULTILINE)
    return errors[-1].strip() if errors else ""


def explain_import_error(error: str, machine: Machine) -> Finding:
    """Return what an `import tensorflow` that failed though all versions fit means."""
    what, fix = "import tensorflow fails: " + error, environment.reinstall_command()
    if "DLL load failed" in error:
        what += " (most often the Visual C++ runtime is missing)"
        fix = "winget install Microsoft.VCRedist.2015+.x64"
    elif re.search(r"ended with (-4|3221225501)$", error):
        what += " (an illegal instruction: this CPU lacks AVX)"
        fix = "none on this machine: TensorFlow is built for CPUs with AVX"
    elif re.search("undefined symbol|tfdml_plugin", error):
        what += " (the plug-in belongs to another TensorFlow)"
    elif "Keras" in error or "keras" in error:
        what += " (a Keras of another TensorFlow)"
    return Finding(PROBLEM, what, fix)


def find_wrong_variables(machine: Machine, variables: Mapping[str, str]) -> list[Finding]:
    """Return the DirectML variables that are set and that nothing reads."""
    findings = []
    runtime = next((n for n in _BOTH if n in requirements.wanted_packages(machine)), None)
    for name in sorted(variables):
        if not re.match("(TF_|TORCH_)?(DIRECTML|DML)_", name):
            continue
        if name not in VARIABLES:
            what = f"environment variable {name} is set, but no such variable exists"
        elif runtime and runtime not in VARIABLES[name][0]:
            what = f"environment variable {name} is set, but {runtime} does not read it"
        else:
            continue
        findings.append(Finding(WARNING, what, environment.unset_command(name, machine)))
    return findings


def _runtime_in_words(machine: Machine) -> str:
    wanted = requirements.wanted_packages(machine)
    names = [n for n in wanted if n.startswith(("tensorflow", "tf-"))]
    return " + ".join((name + wanted[name]).replace("==", " ") for name in names)


def _system(machine: Machine) -> str:
    system = f"{platform.system()} {platform.release()}"
    if not machine.wsl:
        return system
    there = os.path.exists(environment.WSL_LIBRARY)
    return "{}, WSL, {} {}".format(
        system, environment.WSL_LIBRARY, "is there" if there else "is MISSING"
    )


def inspect() -> Report:
    """Return everything there is to know about this interpreter, its packages and its adapters."""
    machine = requirements.this_machine()
    packages = requirements.installed_packages()
    findings = environment.find_problems(packages, machine, os.environ)
    findings += find_wrong_variables(machine, os.environ)
    facts = {
        "Python": f"{platform.python_version()}, {machine.bits}-bit, {platform.machine()}",
        "System": _system(machine),
        "Should have": _runtime_in_words(machine),
    }
    for name in sorted(set(VARIABLES) & set(os.environ)):
        facts[name] = f"{os.environ[name]} ({VARIABLES[name][1]})"
    adapters, selected = _inspect_tensorflow(packages, machine, findings, facts)
    if any(finding.severity == PROBLEM for finding in findings):
        exit_code, verdict = 2, "TensorFlow cannot train here"
    elif selected:
        exit_code, verdict = 0, "training will use the GPU: " + ", ".join(selected)
    else:
        exit_code, verdict = 1, "training will run on the CPU"
    findings.sort(key=lambda finding: finding.severity != PROBLEM)
    compared = requirements.compare_packages(packages, machine)
    return Report(exit_code, verdict, findings, facts, compared, adapters, selected)


def _inspect_tensorflow(packages, machine, findings, facts):
    """Import TensorFlow, add to findings and facts, and return all adapters and the selected."""
    if not any(name.startswith(("tensorflow", "tf-nightly")) for name in packages):
        facts["TensorFlow"] = "not installed"
        return [], []
    everything = probe_tensorflow("")
    if everything.error:
        facts["TensorFlow"] = "cannot be imported: " + everything.error
        if not any(finding.severity == PROBLEM for finding in findings):
            findings.append(explain_import_error(everything.error, machine))
        return [], []
    facts["TensorFlow"] = f"{everything.tensorflow}, Keras {everything.keras}"
    adapters = list(everything.devices)
    facts["Adapters"] = "; ".join(f"{index}: {name}" for index, name in enumerate(adapters))
    if not adapters:
        facts["Adapters"] = "none"
        findings.append(
            Finding(WARNING, "TensorFlow finds no GPU", environment.no_gpu_advice(machine))
        )
        return [], []
    if not any(name in packages for name in _BOTH):
        return adapters, adapters
    chosen = os.environ.get("DML_VISIBLE_DEVICES", environment.DEFAULT_ADAPTER)
    # TensorFlow itself says what it makes of the variable.
    selected = list(probe_tensorflow(chosen).devices)
    if environment.PLUGIN in packages:
        # The plug-in uses one adapter: the first that is visible.
        selected = selected[:1]
    facts["Selected"] = "{} (DML_VISIBLE_DEVICES={}{})".format(
        ", ".join(selected) or "none",
        chosen,
        "" if "DML_VISIBLE_DEVICES" in os.environ else ", the scripts' own value",
    )
    if not selected:
        what = f"DML_VISIBLE_DEVICES={chosen} selects none of the {len(adapters)} adapters"
        fix = environment.unset_command("DML_VISIBLE_DEVICES", machine)
        findings.append(Finding(WARNING, what, fix))
    return adapters, selected


def report_text(report: Report) -> str:
    """Return the report as text: the verdict, the findings, the facts, the packages."""
    width = max(map(len, report.facts))
    facts = [f"{name.ljust(width)}  {value}" for name, value in report.facts.items()]
    parts = [
        f"{report.verdict} (exit code {report.exit_code})",
        environment.findings_text(report.findings),
        "\n".join(facts),
        environment.packages_text(report.packages),
    ]
    return "\n\n".join(filter(None, parts))


def report_json(report: Report) -> dict[str, Any]:
    """Return the report as a dictionary for JSON."""
    facts = report._asdict()
    for name in ("findings", "packages"):
        facts[name] = [dict(item._asdict()) for item in facts[name]]
    return dict(facts)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.doctor",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--json", action="store_true", help="print the facts as JSON")
    choice.add_argument(
        "--audit",
        metavar="SCRIPT",
        help="list operations without a DirectML kernel; the flags of SCRIPT may follow",
    )
    choice.add_argument("--check", action="store_true", help="compare a step on the GPU and CPU")
    arguments, flags = parser.parse_known_args(argv)
    if flags and not arguments.audit:
        parser.error("unrecognized arguments: " + " ".join(flags))
    if arguments.audit or arguments.check:
        environment.preflight()
        environment.select_adapter(environment.DEFAULT_ADAPTER)
        # Both import TensorFlow.
        if arguments.audit:
            from tools import kernel_audit

            try:
                return kernel_audit.audit_script(arguments.audit, *flags)
            except ValueError as problem:
                parser.error(str(problem))
        from tools import device_check

        return device_check.check()
    report = inspect()
    print(json.dumps(report_json(report), indent=2) if arguments.json else report_text(report))
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
