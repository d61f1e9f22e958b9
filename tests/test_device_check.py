"""The check of a device passes where it computes the right thing, and only there."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from backend import optimizers
from backend.runtime import tf
from tests.helpers import ROOT
from tools import device_check
from tools.device_check import TOLERANCES, check, difference

pytestmark = pytest.mark.tensorflow_only


@pytest.fixture(scope="module")
def reference():
    return device_check.compute("/CPU:0")


def test_the_cpu_agrees_with_itself(capsys):
    assert check("/CPU:0") == 0
    text = capsys.readouterr().out
    assert all(name in text for name in TOLERANCES) and "DIFFERENT" not in text


def test_what_is_compared_is_a_training_step(reference):
    found = reference.quantities
    assert set(found) == set(TOLERANCES)
    assert found["logits"][0].shape == (device_check.BATCH_SIZE, device_check.CLASSES)
    assert len(found["gradients"]) == len(found["change of the weights"]) == len(reference.weights)
    # Adam's first step is the learning rate, wherever the gradient is more than rounding.
    steps = np.concatenate([np.abs(change).ravel() for change in found["change of the weights"]])
    assert np.median(steps) == pytest.approx(device_check.LEARNING_RATE, rel=1e-2)
    assert found["loss 5 steps later"][0] < found["loss"][0]


def test_without_a_gpu_nothing_counts_as_checked(monkeypatch, capsys):
    monkeypatch.setattr(device_check, "has_gpu", lambda: False)
    assert check() == 2
    assert "Nothing was checked" in capsys.readouterr().out


@pytest.mark.parametrize("name", list(TOLERANCES))
def test_every_quantity_can_fail_the_check(name, reference, monkeypatch, capsys):
    spoiled = [array.copy() for array in reference.quantities[name]]
    spoiled[0] *= 1 + 3 * TOLERANCES[name]
    found = reference._replace(quantities=dict(reference.quantities, **{name: spoiled}))
    outcomes = iter([reference, found])
    monkeypatch.setattr(device_check, "compute", lambda *arguments: next(outcomes))
    assert check("/CPU:0") == 1
    rows = [row for row in capsys.readouterr().out.splitlines() if "DIFFERENT" in row]
    assert len(rows) == 1 and rows[0].startswith(name)


def test_a_wrong_kernel_is_found(monkeypatch, capsys):
    compute, kernel = device_check.compute, tf.nn.softmax

    def wrong(device, *arguments):
        if arguments:
            # As a driver that loses the last digits of an exponential would.
            monkeypatch.setattr(tf.nn, "softmax", lambda x: kernel(x) * 1.02)
        return compute(device, *arguments)

    monkeypatch.setattr(device_check, "compute", wrong)
    assert check("/CPU:0") == 1
    assert "DIFFERENT" in capsys.readouterr().out


def test_a_wrong_update_is_found(monkeypatch, capsys):
    compute, apply = device_check.compute, optimizers.Adam.apply

    def wrong(device, *arguments):
        if arguments:
            monkeypatch.setattr(
                optimizers.Adam,
                "apply",
                lambda self, gradients, rate, step: apply(self, gradients, rate * 0.99, step),
            )
        return compute(device, *arguments)

    monkeypatch.setattr(device_check, "compute", wrong)
    assert check("/CPU:0") == 1
    row = [r for r in capsys.readouterr().out.splitlines() if r.startswith("change of the weights")]
    assert row[0].endswith("DIFFERENT")


def test_nan_is_no_agreement():
    ones = [np.ones(3, np.float32), np.ones(2, np.float32)]
    assert difference(ones, ones) == 0
    assert np.isnan(difference([ones[0], ones[1] * np.nan], ones))
    assert difference([ones[0], ones[1] * 1.5], ones) == pytest.approx(0.5)
    # Rounding of what is nothing beside the rest.
    nothing = [np.full(2, 1e-9, np.float32)]
    assert difference(ones + nothing, ones + [-nothing[0]]) < 1e-5


def test_the_step_runs_on_the_device_that_is_named():
    code = (
        "from backend.runtime import tf\n"
        "config = tf.config.experimental\n"
        "cpu = config.list_physical_devices('CPU')[0]\n"
        "config.set_virtual_device_configuration(cpu, 2 * [config.VirtualDeviceConfiguration()])\n"
        "import sys\nfrom tools import device_check\n"
        "sys.exit(device_check.check('/CPU:1'))\n"
    )
    child = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True)
    assert child.returncode == 0, child.stderr.decode()
    assert b"CPU:1 (" in child.stdout and b"against CPU:0" in child.stdout
