"""Broken environments really built: the doctor names the break, and its command fixes it.

    python -m pytest -m slow tests/test_broken_environments.py

Needs the internet, a Python 3.7, 3.10 and 3.11, room for one TensorFlow at a time, and about 13
minutes. One environment per Python is broken and fixed time and again: each fix must
leave a TensorFlow that can be imported.
"""

from __future__ import annotations

import glob
import json
import os
import shutil
import subprocess

import pytest

pytestmark = pytest.mark.slow

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PLUGIN = "tensorflow-directml-plugin==0.4.0.dev230202"
# Losses that are not seen on import.
LSTM = "import tensorflow as tf; tf.keras.layers.LSTM(2)(tf.keras.Input((3, 2)))"
LOAD = """
import os, tempfile
import tensorflow as tf
model = tf.keras.Sequential([tf.keras.layers.Dense(1, input_shape=(1,))])
path = os.path.join(tempfile.mkdtemp(), "weights.h5")
model.save_weights(path)
model.load_weights(path)
"""
IMPORT = "import tensorflow as tf; tf.keras.layers.Dense(1)"

# Python, then in order: arguments of pip that break, the diagnosis, the code that fails, its error.
SCENARIOS = {
    "3.10": [
        (
            ["install", "--no-deps", PLUGIN],
            "is installed without TensorFlow",
            IMPORT,
            "No module named 'tensorflow'",
        ),
        (
            ["install", "--no-deps", "numpy==2.2.6"],
            "numpy 2.2.6 is installed; tensorflow-cpu needs numpy>=1.20,<2",
            IMPORT,
            "Unable to convert function return value to a Python type",
        ),
        (
            ["install", "--no-deps", "protobuf==4.25.8"],
            "protobuf 4.25.8 is installed; tensorflow-cpu needs protobuf>=3.9.2,<3.20",
            IMPORT,
            "Descriptors cannot be created directly",
        ),
        (
            ["install", "--no-deps", "tensorflow-cpu==2.11.0"],
            "tensorflow-cpu 2.11.0 is installed beside the DirectML plug-in",
            IMPORT,
            "undefined symbol",
        ),
    ],
    "3.7": [
        (
            ["install", "--no-deps", "pillow"],
            "TensorFlow is not installed",
            IMPORT,
            "No module named 'tensorflow'",
        ),
        (
            ["install", "--no-deps", "protobuf==4.24.4"],
            "protobuf 4.24.4 is installed; tensorflow-directml needs protobuf>=3.6.1,<3.21",
            IMPORT,
            "Descriptors cannot",
        ),
        (
            ["install", "--no-deps", "h5py==3.8.0"],
            "h5py 3.8.0 is installed; tensorflow-directml needs h5py<=2.10.0",
            LOAD,
            "has no attribute 'decode'",
        ),
        (
            ["install", "--no-deps", "numpy==1.21.6"],
            "numpy 1.21.6 is installed; tensorflow-directml needs numpy>=1.16,<1.19",
            LSTM,
            "Cannot convert a symbolic Tensor",
        ),
    ],
    "3.11": [
        (
            ["install", "--no-deps", "pillow"],
            "TensorFlow is not installed",
            IMPORT,
            "No module named 'tensorflow'",
        ),
        (
            ["uninstall", "-y", "tf_keras"],
            "tf-keras is not installed; tensorflow needs tf-keras>=2.16",
            IMPORT,
            "tf_keras",
        ),
    ],
}


def find_python(version):
    """Return a Python of a version, from the path or from pyenv, or None."""
    pyenv = os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv"))
    candidates = glob.glob(os.path.join(pyenv, "versions", version + ".*", "bin", "python"))
    for candidate in candidates + [shutil.which("python" + version)]:
        if candidate and subprocess.call([candidate, "-c", ""], stderr=subprocess.DEVNULL) == 0:
            return candidate
    return None


def run(*command, **options):
    """Run a command in the project folder and return the finished process with its text."""
    variables = dict(os.environ, TF_USE_LEGACY_KERAS="1", PIP_DISABLE_PIP_VERSION_CHECK="1")
    variables.pop("PYTHONPATH", None)
    return subprocess.run(
        command[0] if options.get("shell") else command,
        cwd=ROOT,
        env=variables,
        capture_output=True,
        text=True,
        **options,
    )


def diagnose(python):
    """Return the doctor's exit code and facts."""
    child = run(python, "-m", "tools.doctor", "--json")
    assert child.stdout, child.stderr
    return child.returncode, json.loads(child.stdout)


@pytest.mark.parametrize("version", sorted(SCENARIOS))
def test_each_break_is_diagnosed_and_mended(version, tmp_path):
    base = find_python(version)
    if base is None:
        pytest.skip(f"there is no Python {version} here")
    folder = tmp_path / "environment"
    assert run(base, "-m", "venv", str(folder)).returncode == 0
    python = str(folder / "bin" / "python")
    try:
        for pip, diagnosis, code, error in SCENARIOS[version]:
            broken = run(python, "-m", "pip", *pip)
            assert broken.returncode == 0, broken.stderr
            failed = run(python, "-c", code)
            assert failed.returncode != 0 and error in failed.stderr, failed.stderr

            exit_code, facts = diagnose(python)
            problem = facts["findings"][0]
            assert (exit_code, facts["exit_code"], problem["severity"]) == (2, 2, "PROBLEM")
            assert diagnosis in problem["what"]
            stopped = run(python, "-c", "from backend import environment; environment.preflight()")
            assert stopped.returncode == 2
            assert diagnosis in stopped.stderr and "Traceback" not in stopped.stderr

            for command in problem["fix"].splitlines():
                fixed = run(command, shell=True)
                assert fixed.returncode == 0, fixed.stderr
            worked = run(python, "-c", code)
            assert worked.returncode == 0, worked.stderr
            exit_code, facts = diagnose(python)
            assert exit_code in (0, 1), facts
    finally:
        shutil.rmtree(str(folder))
