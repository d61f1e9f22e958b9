"""Every broken environment is recognised; they are fabricated, so any interpreter tests all."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import types

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from backend import environment, requirements
from backend.environment import PROBLEM, WARNING
from backend.requirements import Machine
from tests.helpers import ROOT
from tools import device_check, doctor, kernel_audit

PYTHONS = [(3, minor) for minor in range(6, 15)]
PLUGIN = "tensorflow-directml-plugin"
LINUX_37 = Machine((3, 7), "linux", 64)
LINUX_310 = Machine((3, 10), "linux", 64)
LINUX_312 = Machine((3, 12), "linux", 64)
WINDOWS_310 = Machine((3, 10), "win32", 64)
WINDOWS_312 = Machine((3, 12), "win32", 64)
WSL_310 = Machine((3, 10), "linux", 64, wsl=True)
WSL_312 = Machine((3, 12), "linux", 64, wsl=True)
MACHINES = [LINUX_37, LINUX_310, LINUX_312, WINDOWS_310, WINDOWS_312, WSL_310, WSL_312]

# Versions that were seen to work together.
WORKING = {
    (3, 7): {
        "tensorflow-directml": "1.15.8",
        "numpy": "1.18.5",
        "protobuf": "3.20.3",
        "h5py": "2.10.0",
    },
    (3, 10): {
        "tensorflow-cpu": "2.10.0",
        PLUGIN: "0.4.0.dev230202",
        "numpy": "1.26.4",
        "protobuf": "3.19.6",
        "setuptools": "65.5.0",
    },
    (3, 12): {"tensorflow": "2.21.0", "tf-keras": "2.21.0", "numpy": "2.4.6", "protobuf": "7.36.2"},
}
for _python, _packages in WORKING.items():
    # The oldest version will do for what no test breaks.
    for _name, _versions in requirements.wanted_packages(Machine(_python, "linux", 64)).items():
        _packages.setdefault(_name, re.search("[0-9][0-9.]*", _versions).group())

# Interpreter, what is changed of its working packages (None: removed), the words of the diagnosis.
BROKEN = [
    (LINUX_310, {"numpy": "2.2.6"}, "numpy 2.2.6 .* needs numpy>=1.20,<2 .*Unable to convert"),
    (LINUX_310, {"protobuf": "4.25.8"}, "protobuf 4.25.8 .*Descriptors cannot be"),
    (LINUX_310, {"tensorflow-cpu": "2.11.0"}, "2.11.0 is installed beside the DirectML plug-in"),
    (WINDOWS_310, {"tensorflow-cpu": None, "tensorflow": "2.12.0"}, "tensorflow 2.12.0 .*plug-in"),
    (WINDOWS_310, {"tensorflow-cpu": None, "tensorflow": "2.10.0"}, "tensorflow 2.10.0 .*plug-in"),
    (WSL_310, {"tensorflow-cpu": None}, PLUGIN + " .* without TensorFlow"),
    (WSL_310, {"tensorflow": "2.10.0"}, "tensorflow-cpu 2.10.0 and tensorflow 2.10.0"),
    (LINUX_310, {"tensorflow-cpu": None, PLUGIN: None}, "TensorFlow is not installed"),
    (LINUX_310, {"matplotlib": None}, "matplotlib is not installed"),
    (LINUX_37, {"numpy": "1.21.6"}, "numpy 1.21.6 .*symbolic Tensor"),
    (LINUX_37, {"protobuf": "4.24.4"}, "protobuf 4.24.4 .*Descriptors cannot"),
    (LINUX_37, {"h5py": "3.8.0"}, "h5py 3.8.0 .*decode"),
    (LINUX_37, {"tensorflow-directml": "1.15.5"}, "1.15.5 .* needs tensorflow-directml==1.15.8"),
    (LINUX_37, {"tensorflow": "1.15.5"}, "installed together"),
    (LINUX_37, {"tensorflow-directml": None}, "TensorFlow is not installed"),
    (LINUX_312, {"tf-keras": None}, "tf-keras is not installed"),
    (LINUX_312, {"tensorflow": None}, "TensorFlow is not installed"),
    (LINUX_312, {"tensorflow": "2.15.1"}, "tensorflow 2.15.1 .* needs tensorflow>=2.16"),
    (LINUX_312, {"tensorflow-cpu": "2.21.0"}, "installed together"),
    (WINDOWS_312, {PLUGIN: "0.4.0.dev230202"}, "no build of it fits Python 3.12"),
    (LINUX_310, {"tensorflow-directml": "1.15.8"}, "no build of it fits Python 3.10"),
]
# The same for what training survives.
QUESTIONABLE = [
    (LINUX_310, {"protobuf": "3.20.3"}, "protobuf 3.20.3 .*<3.20, though this one works$"),
    (LINUX_310, {"setuptools": "82.0.0"}, "setuptools 82.0.0 .*pkg_resources"),
    (WSL_310, {PLUGIN: None}, PLUGIN + " is not installed"),
    (LINUX_310, {"tensorflow-cpu": None, "tensorflow": "2.15.1", PLUGIN: None}, "untested"),
    (LINUX_312, {"tf-keras": "2.16.0"}, "tf_keras 2.16.0 belongs to another TensorFlow"),
]


def changed(machine, changes):
    packages = dict(WORKING[machine.python], **changes)
    return {name: version for name, version in packages.items() if version}


def follow(commands, packages, machine):
    """Do to a dictionary what pip does to an environment; WORKING is all that its index has."""
    packages = dict(packages)
    for command in commands.splitlines():
        if command.startswith("or, "):
            break
        verb, arguments = re.search(r"-m pip (\w+) (?:-y )?(.*)", command).groups()
        if arguments == "-r requirements.txt":
            packages.update(WORKING[machine.python])
            continue
        for argument in arguments.replace('"', "").split():
            name, versions = re.match(r"([\w-]+)(.*)", argument).groups()
            name = name.replace("_", "-")
            if verb == "uninstall":
                del packages[name]
            else:
                assert WORKING[machine.python][name] in SpecifierSet(versions, prereleases=True)
                packages[name] = WORKING[machine.python][name]
    return packages


@pytest.mark.parametrize("platform", ["linux", "win32", "darwin"])
@pytest.mark.parametrize("python", PYTHONS)
def test_requirements_are_read_as_pip_reads_them(python, platform):
    expected = {}
    with open(os.path.join(ROOT, "requirements.txt")) as lines:
        for line in lines:
            if line.split("#")[0].strip():
                requirement = Requirement(line.split("#")[0].strip())
                values = {"python_version": "{}.{}".format(*python), "sys_platform": platform}
                if requirement.marker is None or requirement.marker.evaluate(values):
                    name = re.sub("[-_.]+", "-", requirement.name).lower()
                    expected[name] = requirement.specifier
    wanted = requirements.wanted_packages(Machine(python, platform, 64))
    assert {name: SpecifierSet(versions) for name, versions in wanted.items()} == expected
    assert expected


@pytest.mark.parametrize("wanted", [">=1.16,<1.19", "<2", "<=2.10.0", "==2.10.0", ">=3.9.2,<3.20"])
def test_versions_are_compared_as_pip_compares_them(wanted):
    versions = "1 1.9 1.16 1.16.0 1.18.5 1.19 1.19.5 1.26.4 2.0 2.0.2 2.9.9 2.10 2.10.0 2.10.1 3.0"
    versions += " 3.9.1 3.9.2 3.19.6 3.20 3.20.3 10.0"
    for version in versions.split():
        assert requirements.satisfies(version, wanted) == (version in SpecifierSet(wanted)), version


def test_a_development_release_equals_only_itself():
    wanted = "==0.4.0.dev230202"
    assert requirements.satisfies("0.4.0.dev230202", wanted)
    assert not requirements.satisfies("0.4.0", wanted)
    assert not requirements.satisfies("0.4.0.dev220928", wanted)


def test_installed_packages_are_read_off_metadata_folders(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (
        first / "tensorflow_directml_plugin-0.4.0.dev230202.dist-info",
        first / "numpy-1.26.4.dist-info",
        first / "gast-0.2.2-py3.7.egg-info",
        first / "numpy",
        first / "~umpy-1.18.5.dist-info",
        first / "local.egg-info",
        second / "numpy-2.2.6.dist-info",
        second / "Pillow-9.5.0.dist-info",
    ):
        folder.mkdir(parents=True)
    paths = [str(tmp_path / "missing"), str(first), str(second)]
    assert requirements.installed_packages(paths) == {
        PLUGIN: "0.4.0.dev230202",
        "numpy": "1.26.4",
        "gast": "0.2.2",
        "pillow": "9.5.0",
    }


def test_installed_packages_agree_with_the_running_interpreter():
    metadata = pytest.importorskip("importlib.metadata", reason="Python 3.8 and newer have it")
    found = requirements.installed_packages()
    for name in ("pytest", "packaging", "numpy"):
        assert found[name] == metadata.version(name)


@pytest.mark.parametrize("machine", MACHINES)
def test_a_working_environment_has_no_findings(machine):
    assert environment.find_problems(WORKING[machine.python], machine, {}) == []


@pytest.mark.parametrize("machine,changes,words", BROKEN)
def test_a_broken_environment_is_named_and_its_command_mends_it(machine, changes, words):
    packages = changed(machine, changes)
    (finding,) = environment.find_problems(packages, machine, {})
    assert finding.severity == PROBLEM
    assert re.search(words, finding.what), finding.what
    fixed = follow(finding.fix, packages, machine)
    assert environment.find_problems(fixed, machine, {}) == []


@pytest.mark.parametrize("machine,changes,words", QUESTIONABLE)
def test_what_training_survives_is_a_warning(machine, changes, words):
    packages = changed(machine, changes)
    (finding,) = environment.find_problems(packages, machine, {})
    assert finding.severity == WARNING
    assert re.search(words, finding.what), finding.what


def test_problems_come_before_warnings_and_each_is_told():
    packages = changed(LINUX_310, {"setuptools": "82.0", "numpy": "2.2.6", "protobuf": "4.25.8"})
    findings = environment.find_problems(packages, LINUX_310, {})
    assert [finding.what.split()[0] for finding in findings] == ["numpy", "protobuf", "setuptools"]


def test_numpy_2_is_fine_with_a_tensorflow_that_is_not_2_10():
    changes = {"tensorflow-cpu": None, "tensorflow": "2.18.0", PLUGIN: None, "numpy": "2.0.2"}
    findings = environment.find_problems(changed(LINUX_310, changes), LINUX_310, {})
    assert [finding.severity for finding in findings] == [WARNING]


def test_the_next_series_of_tensorflow_is_no_trouble():
    packages = changed(LINUX_312, {"tensorflow": "3.0.0", "tf-keras": "3.0.0"})
    assert environment.find_problems(packages, LINUX_312, {}) == []
    packages["tf-keras"] = "2.21.0"
    (finding,) = environment.find_problems(packages, LINUX_312, {})
    assert finding.fix.endswith('"tf_keras==3.0.*"')


def test_32_bit_python_is_the_one_problem():
    (finding,) = environment.find_problems({}, Machine((3, 10), "win32", 32), {})
    assert "32-bit" in finding.what and "x64" in finding.fix


@pytest.mark.parametrize("value,severities", [("0", [PROBLEM]), ("1", []), ("True", [])])
def test_keras_2_switched_off_is_found(value, severities):
    variables = {"TF_USE_LEGACY_KERAS": value}
    findings = environment.find_problems(WORKING[3, 12], LINUX_312, variables)
    assert [finding.severity for finding in findings] == severities
    assert environment.find_problems(WORKING[3, 10], LINUX_310, variables) == []


def run_bare(*arguments):
    """Run this interpreter without its installed packages: no TensorFlow."""
    return subprocess.run(
        [sys.executable, "-S"] + list(arguments),
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
    )


def test_preflight_prints_the_table_and_leaves_with_2():
    child = run_bare(
        "-c", "from backend import environment; environment.preflight(); print('trained')"
    )
    assert child.returncode == 2
    assert child.stdout == ""
    assert "TensorFlow is not installed" in child.stderr
    assert "pip install -r requirements.txt" in child.stderr
    assert "Traceback" not in child.stderr


def test_preflight_lets_this_interpreter_pass_and_imports_no_tensorflow():
    code = (
        "import sys; from backend import environment; environment.preflight(); "
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_check_installed_raises_a_value_error_with_the_same_table(monkeypatch):
    monkeypatch.setattr(requirements, "installed_packages", lambda: {})
    with pytest.raises(ValueError, match="TensorFlow is not installed") as problem:
        environment.check_installed()
    assert isinstance(problem.value, environment.EnvironmentProblem)


@pytest.mark.parametrize("value", ["0", "1", "1,0", "12"])
def test_the_adapter_is_selected(value, monkeypatch):
    monkeypatch.delenv("DML_VISIBLE_DEVICES", raising=False)
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    # A second deletion makes monkeypatch take back what select_adapter sets.
    monkeypatch.setenv("DML_VISIBLE_DEVICES", "")
    monkeypatch.delenv("DML_VISIBLE_DEVICES")
    environment.select_adapter(value)
    assert os.environ["DML_VISIBLE_DEVICES"] == value


def test_all_adapters_are_the_default_of_directml(monkeypatch):
    monkeypatch.delenv("DML_VISIBLE_DEVICES", raising=False)
    environment.select_adapter("")
    assert "DML_VISIBLE_DEVICES" not in os.environ


def test_the_users_adapter_wins(monkeypatch):
    monkeypatch.setenv("DML_VISIBLE_DEVICES", "1")
    environment.select_adapter("0")
    assert os.environ["DML_VISIBLE_DEVICES"] == "1"


@pytest.mark.parametrize("value", ["-1", "gpu", "0,", ",0", "0 1", "0;1", "0\n", "\u0663"])
def test_a_malformed_adapter_is_named(value):
    with pytest.raises(ValueError, match="DML_VISIBLE_DEVICES is .*accepted"):
        environment.select_adapter(value)


def test_the_adapter_cannot_be_selected_after_tensorflow_is_imported(monkeypatch):
    monkeypatch.delenv("DML_VISIBLE_DEVICES", raising=False)
    monkeypatch.setitem(sys.modules, "tensorflow", types.ModuleType("tensorflow"))
    with pytest.raises(RuntimeError, match="before TensorFlow is imported"):
        environment.select_adapter("0")


@pytest.mark.parametrize("machine", MACHINES)
def test_advice_never_puts_cuda_into_a_directml_environment(machine):
    advice = environment.no_gpu_advice(machine)
    assert 1 <= len(advice.splitlines()) <= 8
    if machine.python == (3, 10):
        for line in advice.splitlines():
            assert "and-cuda" not in line or line.startswith(".venv-cuda")


def inspect_fabricated(monkeypatch, machine, packages, adapters, variables=()):
    """Inspect a machine of which only the verdicts are real."""

    def probe(visible):
        chosen = [int(index) for index in visible.split(",")] if visible else range(len(adapters))
        return doctor.Probe(
            "", "2.10.0", "2.10.0", [adapters[i] for i in chosen if i < len(adapters)]
        )

    for name in list(os.environ):
        if "DML" in name or "DIRECTML" in name:
            monkeypatch.delenv(name)
    for name, value in dict(variables).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(requirements, "this_machine", lambda: machine)
    monkeypatch.setattr(requirements, "installed_packages", lambda: packages)
    monkeypatch.setattr(doctor, "probe_tensorflow", probe)
    return doctor.inspect()


RADEON = ["Radeon RX 6600", "Intel UHD 770"]


def test_exit_code_0_names_the_adapter_that_the_scripts_select(monkeypatch):
    report = inspect_fabricated(monkeypatch, WINDOWS_310, WORKING[3, 10], RADEON)
    assert (report.exit_code, report.selected, report.adapters) == (0, RADEON[:1], RADEON)
    assert report.findings == []


@pytest.mark.parametrize("python,selected", [((3, 7), RADEON[::-1]), ((3, 10), RADEON[1:])])
def test_the_plug_in_uses_one_adapter_and_1_15_all_that_are_visible(python, selected, monkeypatch):
    machine = Machine(python, "win32", 64)
    variables = {"DML_VISIBLE_DEVICES": "1,0"}
    report = inspect_fabricated(monkeypatch, machine, WORKING[python], RADEON, variables)
    assert (report.exit_code, report.selected) == (0, selected)


def test_exit_code_1_where_the_variable_hides_every_adapter(monkeypatch):
    variables = {"DML_VISIBLE_DEVICES": "7"}
    report = inspect_fabricated(monkeypatch, WINDOWS_310, WORKING[3, 10], RADEON, variables)
    assert report.exit_code == 1
    assert "selects none of the 2 adapters" in report.findings[0].what


def test_exit_code_1_where_there_is_no_gpu(monkeypatch):
    report = inspect_fabricated(monkeypatch, WSL_310, WORKING[3, 10], [])
    assert report.exit_code == 1
    assert "wsl --update" in report.findings[0].fix


def test_directml_variables_leave_cuda_alone(monkeypatch):
    variables = {"DML_VISIBLE_DEVICES": "7"}
    report = inspect_fabricated(monkeypatch, LINUX_312, WORKING[3, 12], ["H100"], variables)
    assert (report.exit_code, report.selected) == (0, ["H100"])


@pytest.mark.parametrize("machine,changes,words", BROKEN)
def test_exit_code_2_comes_with_the_problem_in_the_first_lines(
    machine, changes, words, monkeypatch
):
    report = inspect_fabricated(monkeypatch, machine, changed(machine, changes), RADEON)
    assert report.exit_code == 2
    assert re.search(words, "\n".join(doctor.report_text(report).splitlines()[:4]))


def test_json_holds_the_facts_of_the_text(monkeypatch):
    packages = changed(LINUX_310, {"numpy": "2.2.6"})
    report = inspect_fabricated(monkeypatch, LINUX_310, packages, [])
    facts = json.loads(json.dumps(doctor.report_json(report)))
    assert facts["exit_code"] == 2
    assert facts["findings"][0]["fix"].endswith('pip install "numpy>=1.20,<2"')
    row = {"name": "numpy", "wanted": ">=1.20,<2", "installed": "2.2.6", "fits": False}
    assert row in facts["packages"]
    text = doctor.report_text(report)
    for value in facts["facts"].values():
        assert value in text


@pytest.mark.parametrize(
    "name,machine,words",
    [
        ("TF_DIRECTML_KERNEL_CACHE", LINUX_310, "no such variable"),
        ("TF_DIRECTML_DEVICE_COUNT", LINUX_37, "no such variable"),
        ("DIRECTML_GPU_ENABLE", LINUX_310, "no such variable"),
        ("TORCH_DIRECTML_DEVICE", LINUX_310, "no such variable"),
        ("TF_DIRECTML_MAX_ALLOC_SIZE", LINUX_310, "plugin does not read it"),
        ("TF_DIRECTML_TRACE_PIX_LEVEL", LINUX_37, "tensorflow-directml does not read it"),
        ("TF_DIRECTML_MAX_ALLOC_SIZE", LINUX_37, None),
        ("TF_DIRECTML_BATCH_FLUSH_SIZE", LINUX_310, None),
        ("TF_CPP_MIN_LOG_LEVEL", LINUX_310, None),
    ],
)
def test_variables_that_nothing_reads_are_found(name, machine, words):
    findings = doctor.find_wrong_variables(machine, {name: "1", "PATH": ""})
    if words is None:
        assert findings == []
    else:
        assert name in findings[0].what and words in findings[0].what
        assert findings[0].fix == "unset " + name


FAKE_TENSORFLOW = {
    "error": "raise TypeError('Descriptors cannot be created directly.\\nMore lines follow.')",
    "crash": "import os; os.abort()",
    "exit": "import sys; sys.exit(3)",
    "hang": "import time; time.sleep(60)",
    "library": "raise ImportError('DLL load failed while importing _pywrap_tensorflow_internal')",
}
DIRECTML_TENSORFLOW = """
import os, sys, types
__version__ = "2.10.0"
names = ["Radeon RX 6600", "Intel UHD 770"]
visible = os.environ.get("DML_VISIBLE_DEVICES")
names = [names[int(i)] for i in visible.split(",")] if visible else names
for index, name in enumerate(names):
    sys.stderr.write("I tensorflow/c/logging.cc:34] DirectML adapter %d: %s\\0\\n" % (index, name))
print("chatter on standard output")
device = types.SimpleNamespace(name="/physical_device:GPU:0")
config = types.SimpleNamespace(
    list_physical_devices=lambda kind: [device] if kind == "GPU" else [],
    experimental=types.SimpleNamespace(),
)
keras = types.SimpleNamespace(__version__="2.10.0")
"""


def fake_tensorflow(code, folder, monkeypatch):
    package = folder / "tensorflow"
    package.mkdir()
    (package / "__init__.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(folder))


@pytest.mark.parametrize(
    "kind,error",
    [
        ("error", "^TypeError: Descriptors cannot be created directly.$"),
        ("crash", "ended with -?[0-9]+$"),
        ("exit", "ended with 3$"),
        ("hang", "no answer within 1 seconds"),
        ("library", "^ImportError: DLL load failed"),
    ],
)
def test_a_tensorflow_that_fails_in_any_way_does_not_take_the_doctor_down(
    kind, error, tmp_path, monkeypatch
):
    fake_tensorflow(FAKE_TENSORFLOW[kind], tmp_path, monkeypatch)
    probe = doctor.probe_tensorflow("", timeout=1 if kind == "hang" else 60)
    assert re.search(error, probe.error)
    finding = doctor.explain_import_error(probe.error, LINUX_310)
    assert finding.severity == PROBLEM
    assert probe.error in finding.what
    assert ("Visual C++" in finding.what) == (kind == "library")


@pytest.mark.parametrize("visible,names", [("", RADEON), ("0", RADEON[:1]), ("1", RADEON[1:])])
def test_adapter_names_are_read_from_the_log_of_directml(visible, names, tmp_path, monkeypatch):
    fake_tensorflow(DIRECTML_TENSORFLOW, tmp_path, monkeypatch)
    probe = doctor.probe_tensorflow(visible)
    assert probe == doctor.Probe("", "2.10.0", "2.10.0", names)


def test_the_command_leaves_with_the_reports_exit_code():
    child = run_bare("-m", "tools.doctor", "--json")
    assert child.returncode == 2, child.stderr
    assert json.loads(child.stdout)["findings"][0]["what"] == "TensorFlow is not installed"
    text = run_bare("-m", "tools.doctor")
    assert text.returncode == 2
    assert text.stdout.splitlines()[2].startswith("PROBLEM  TensorFlow is not installed")


@pytest.mark.parametrize(
    "module,function,arguments",
    [
        (kernel_audit, "audit_script", ["--audit", "train.py"]),
        (device_check, "check", ["--check"]),
    ],
)
def test_audit_and_check_are_handed_on(module, function, arguments, monkeypatch):
    called = []
    monkeypatch.setattr(module, function, lambda *values: called.append(values) or 1)
    monkeypatch.setattr(environment, "select_adapter", lambda value: None)
    assert doctor.main(arguments) == 1
    assert called == [tuple(arguments[1:])]


def test_the_documentation_lists_the_variables_that_exist():
    with open(os.path.join(ROOT, "docs", "directml.md"), encoding="utf-8") as file:
        documented = set(re.findall(r"^\| `(\w+)` \|", file.read(), re.MULTILINE))
    assert documented == set(doctor.VARIABLES)
