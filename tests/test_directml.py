"""The real DirectML library trains, on a software Direct3D 12 device: see tests/directml_device.

Collected on Python 3.7 and 3.10 only, whose TensorFlow has DirectML. Every test asserts that there
was a DirectML device: without one, TensorFlow would compare the CPU with itself.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

from tests import directml_device
from tests.directml_steps import SELECTIONS
from tests.helpers import ROOT, SMALL_MODEL, only_run

MISSING = directml_device.what_is_missing()
pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)

DEVICE = "DML 0" if sys.version_info < (3, 8) else "GPU 0"
# Largest accepted |device - CPU| / |CPU|, as in tools.device_check; float16 has 11 bits.
TOLERANCES = {"logits": 1e-4, "first loss": 1e-5, "gradients": 1e-3, "averaged weights": 1e-3}
TOLERANCES["last loss"] = 1e-4
# Batch normalisation divides by the deviation of a few images, which magnifies rounding.
BATCH_NORMALISED, BATCH_NORMALISED_GRADIENTS = ("resnet", "visual_tokens"), 1e-2
FLOAT16_TOLERANCES = {"logits": 2e-2, "first loss": 2e-3, "gradients": 5e-2, "last loss": 2e-2}
TRAIN = [sys.executable, os.path.join(str(ROOT), "train_cifar10.py")]
FLAGS = SMALL_MODEL + [
    *"--dataset synthetic --images-per-class 8 --batch-size 16 --epochs 3 --seed 5".split(),
    *"--augmentations random_flip --dropout-rate 0.1".split(),
]


def on_device(command, folder=ROOT, **options):
    """Run a command in a folder with the DirectML device; options are those of directml_device."""
    variables = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3", PYTHONPATH=str(ROOT))
    variables.update(directml_device.environment(**options))
    return subprocess.run(
        [str(word) for word in command],
        cwd=str(folder),
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def steps(tmp_path_factory):
    """How far the steps of all selections are off on the device, by selection and quantity."""
    folder = str(tmp_path_factory.mktemp("steps"))
    program = [sys.executable, "-m", "tests.directml_steps"]
    reference = subprocess.run(
        [*program, "reference", folder], cwd=str(ROOT), stdout=subprocess.PIPE, check=True
    )
    assert not json.loads(reference.stdout.decode().splitlines()[-1])["has_gpu"]
    found = on_device([*program, "device", folder])
    assert found.returncode == 0, found.stderr[-2000:]
    outcome = json.loads(found.stdout.splitlines()[-1])
    assert outcome["has_gpu"] and outcome["device"] == DEVICE
    return outcome


@pytest.mark.parametrize("name", sorted(SELECTIONS))
def test_a_step_computes_what_the_cpu_computes(name, steps):
    if name in steps["refused"]:
        assert name == "mixed_precision" and sys.version_info < (3, 8)
        return
    tolerances = dict(FLOAT16_TOLERANCES if name == "mixed_precision" else TOLERANCES)
    if name in BATCH_NORMALISED:
        tolerances["gradients"] = BATCH_NORMALISED_GRADIENTS
    assert len(steps["errors"][name]) >= 4
    for quantity, error in steps["errors"][name].items():
        # Not `error > tolerance`: NaN is no agreement.
        assert error <= tolerances[quantity], f"{quantity}: {error}"


def test_the_doctor_checks_the_device_and_notices_a_wrong_kernel():
    check = [sys.executable, "-m", "tools.doctor", "--check"]
    found = on_device(check)
    assert found.returncode == 0, found.stdout + found.stderr[-2000:]
    assert f"({DEVICE}) against CPU:0" in found.stdout
    # The exponential function, which softmax is made of.
    wrong = on_device(check, wrong_instruction="dx.op.unary.f32:21")
    assert wrong.returncode == 1 and "DIFFERENT" in wrong.stdout
    assert "TF_DIRECTML_FORCE_PLACED_RESOURCES=true" in wrong.stdout


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A whole training on the device."""
    output = tmp_path_factory.mktemp("runs")
    found = on_device(TRAIN + FLAGS + ["--output-dir", output])
    assert found.returncode == 0, found.stderr[-2000:]
    return only_run(output)


def weights_of(folder):
    found = []
    with h5py.File(str(folder.weights_h5), "r") as file:
        file.visititems(lambda _, item: found.append(item) if hasattr(item, "shape") else None)
        return [np.asarray(item) for item in found]


def test_a_training_finishes_and_its_run_can_be_looked_at(finished, tmp_path):
    results = finished.read_results()
    assert results["device"] == DEVICE and results["epochs"] == 3
    assert finished.is_complete and len(finished.read_history()) == 3
    for tool, flags, written in (
        ("predict", ["--samples", "4"], "samples"),
        ("visualize", [], "attention"),
        ("compare", [finished.path], "compar"),
    ):
        command = [sys.executable, "-m", f"tools.{tool}", finished.path, *flags]
        # The comparison is written where the command is given.
        found = on_device(command, tmp_path)
        assert found.returncode == 0, tool + found.stderr[-2000:]
        assert written in found.stdout, tool


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL on Windows")
def test_a_killed_training_that_is_resumed_is_the_same_bit_for_bit(finished, tmp_path):
    command = TRAIN + FLAGS + ["--output-dir", str(tmp_path), "--checkpoint-minutes", "1e-9"]
    variables = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3")
    variables.update(directml_device.environment())
    child = subprocess.Popen(
        command, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while child.poll() is None and not list(tmp_path.glob("*/*/history.csv")):
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    folder = only_run(tmp_path)
    assert folder.has_checkpoint and not folder.has_results
    found = on_device(TRAIN + ["--resume", folder.path])
    assert found.returncode == 0, found.stderr[-2000:]
    assert folder.read_results()["device"] == DEVICE
    for one, other in zip(weights_of(folder), weights_of(finished)):
        np.testing.assert_array_equal(one, other)


def test_too_little_memory_is_explained(tmp_path):
    found = on_device(TRAIN + FLAGS + ["--output-dir", tmp_path], memory_limit=2**22)
    assert found.returncode not in (0, 2)
    assert "The device is out of memory" in found.stderr, found.stderr[-2000:]
    assert "--micro-batch-size 8" in found.stderr


def test_a_device_that_is_removed_is_explained_and_the_run_goes_on(tmp_path):
    command = TRAIN + FLAGS + ["--output-dir", tmp_path, "--checkpoint-minutes", "1e-9"]
    # Of about 3,500 dispatches in all.
    removed = on_device(command, remove_after=2500)
    assert removed.returncode not in (0, 2)
    folder = only_run(tmp_path)
    assert folder.has_checkpoint and not folder.has_results
    assert "the GPU was reset" in removed.stderr, removed.stderr[-2000:]
    assert f"--resume {folder.path}" in removed.stderr
    found = on_device(TRAIN + ["--resume", folder.path])
    assert found.returncode == 0 and folder.is_complete, found.stderr[-2000:]
