"""Errors of the GPU end a run with what they mean, once, and with the last checkpoint kept."""

from __future__ import annotations

import subprocess
import sys

import pytest

import train_cifar10
from backend import device_errors
from backend.device_errors import DeviceProblem, explain, explained
from backend.runtime import tf
from tests.helpers import ROOT, at_step, only_run
from training.script import run

MEMORY, REMOVED, XLA, FLOAT64 = "out of memory", "GPU was reset", "no XLA compiler", "in float64"
# The texts are those of the public issues that device_errors.py names.
MESSAGES = [
    (
        tf.errors.ResourceExhaustedError,
        "OOM when allocating tensor with shape[16,128,98,98] and type float on /job:localhost/"
        "replica:0/task:0/device:DML:0 by allocator DmlAllocator\n\t [[{{node MatMul}}]]",
        MEMORY,
    ),
    (
        tf.errors.ResourceExhaustedError,
        "Graph execution error:\n\nDetected at node 'vision_transformer/block_1/MatMul'\nfailed to "
        "allocate memory",
        MEMORY,
    ),
    (
        tf.errors.InternalError,
        "Allocator (DmlAllocator) ran out of memory trying to allocate 5.49MiB",
        MEMORY,
    ),
    (RuntimeError, "HRESULT failed with 0x8007000e: E_OUTOFMEMORY", MEMORY),
    (
        tf.errors.InternalError,
        "The DirectML device has encountered an unrecoverable error (DXGI_ERROR_DEVICE_HUNG). This "
        "is most often caused by a timeout occurring on the GPU. Please visit "
        "https://aka.ms/tfdmltimeout for more information and troubleshooting steps.",
        REMOVED,
    ),
    (
        tf.errors.InternalError,
        "HRESULT failed with 0x887a0005: readback_heap->Map(0, nullptr, &readback_heap_data)",
        REMOVED,
    ),
    (tf.errors.UnknownError, "HRESULT failed with 0x887A0006: dml_device_->Reset()", REMOVED),
    (
        tf.errors.AbortedError,
        "Check failed: (((HRESULT)((dml_device_->GetDeviceRemovedReason()))) >= 0) == true",
        REMOVED,
    ),
    (
        tf.errors.UnimplementedError,
        "Could not find compiler for platform DML: NOT_FOUND: could not find registered compiler "
        "for platform DML -- was support for that platform linked in?",
        XLA,
    ),
    (
        tf.errors.NotFoundError,
        "No registered 'AssignAddVariableOp' OpKernel for 'DML' devices compatible with node "
        "{{node AssignAddVariableOp}}\n\t (OpKernel was found, but attributes didn't match) "
        "Requested Attributes: dtype=DT_DOUBLE",
        FLOAT64,
    ),
    (
        tf.errors.InvalidArgumentError,
        "No OpKernel was registered to support Op 'MatMul' used by {{node MatMul}} with these "
        "attrs: [transpose_b=false, T=DT_DOUBLE]\nRegistered devices: [CPU, GPU]",
        FLOAT64,
    ),
]


def raised(kind, message):
    is_tensorflows = issubclass(kind, tf.errors.OpError)
    return kind(None, None, message) if is_tensorflows else kind(message)


@pytest.mark.parametrize("kind,message,meaning", MESSAGES)
def test_each_error_is_explained_where_it_is_raised(kind, message, meaning):
    with pytest.raises(DeviceProblem) as caught:
        with explained(512, 512, lambda: "python x.py --resume runs/x"):
            raise raised(kind, message)
    text = str(caught.value)
    assert meaning in text
    assert [other for other in (MEMORY, REMOVED, XLA, FLOAT64) if other in text] == [meaning]
    # What TensorFlow said stands above, in one line; its own stack does not.
    assert text.startswith(message.split("\n")[0] + "\n\n")
    assert isinstance(caught.value.__cause__, kind)
    if meaning in (MEMORY, REMOVED):
        assert "--micro-batch-size 256" in text
        assert text.endswith("python x.py --resume runs/x")
    if meaning == REMOVED:
        assert "driver" in text and "TDR" in text


def test_a_real_lack_of_memory_is_explained():
    # More than the address space of a process: no machine has it, and nothing is allocated.
    with pytest.raises(DeviceProblem, match=MEMORY):
        with explained(512, 512):
            tf.fill([2**21, 2**21, 2**6], 1.0)


@pytest.mark.parametrize(
    "error",
    [
        tf.errors.InternalError(None, None, "Blas GEMM launch failed"),
        tf.errors.NotFoundError(None, None, "No registered 'Foo' OpKernel: T=DT_FLOAT"),
        ValueError("BATCH_SIZE is 0"),
        KeyboardInterrupt(),
        SystemExit(3),
    ],
)
def test_other_errors_stay_what_they_are(error):
    assert explain(error, 512, 512) is None
    with pytest.raises(type(error)) as caught:
        with explained(512, 512):
            raise error
    assert caught.value is error


@pytest.mark.parametrize(
    "batch_size,images_at_once,advice",
    [
        (512, 512, "--micro-batch-size 256 "),
        (512, 32, "--micro-batch-size 16 "),
        (512, 64, "--micro-batch-size 32 "),
        (100, 25, "--micro-batch-size 10 "),
        (7, 7, "--micro-batch-size 1 "),
        (8, 1, "smaller model"),
        (1, 1, "PATCH_SIZE"),
    ],
)
def test_the_advice_is_a_micro_batch_that_divides_the_batch(batch_size, images_at_once, advice):
    error = raised(tf.errors.ResourceExhaustedError, "OOM when allocating tensor")
    assert advice in explain(error, batch_size, images_at_once)


def test_a_run_ends_with_the_explanation_and_goes_on_from_its_checkpoint(
    tmp_path, capsys, monkeypatch
):
    flags = (
        "--dataset synthetic --images-per-class 12 --epochs 2 --batch-size 20 --augmentations "
        "--number-of-layers 1 --embedding-dim 8 --num-heads 2 --mlp-hidden-dim 8 "
        "--head-hidden-dims --micro-batch-size 20 --output-dir"
    ).split() + [str(tmp_path)]

    def fail(step):
        raise raised(*MESSAGES[0][:2])

    at_step(monkeypatch, 6, fail)
    with pytest.raises(SystemExit) as ended:
        run(lambda: train_cifar10.main(flags))
    assert ended.value.code == 1
    folder = only_run(tmp_path)
    error = capsys.readouterr().err
    assert error.count("error:") == 1 and "Traceback" not in error
    assert MEMORY in error and "--micro-batch-size 10" in error
    assert f"python train_cifar10.py --resume {folder}" in error
    _, state, problem = folder.load_checkpoint()
    assert state["progress"]["epoch"] == 1 and problem == ""

    monkeypatch.undo()
    assert train_cifar10.main(flags + ["--resume", str(folder)]) == folder.path
    assert folder.has_results


ENDINGS = {
    "os.abort()": True,
    "os.kill(os.getpid(), 9)": True,
    "os._exit(0)": True,
    "pass": False,
    "sys.exit(3)": False,
    "raise ValueError('BATCH_SIZE is 0')": False,
    "raise RuntimeError('DXGI_ERROR_DEVICE_HUNG')": False,
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_process_that_dies_without_a_word_is_explained_by_the_watch(ending):
    if sys.platform == "win32" and "os.kill" in ending:
        pytest.skip("no SIGKILL on Windows")
    code = (
        "import os, sys\nfrom backend import device_errors\n"
        "with device_errors.explained(512, 512, watch='python x.py --resume'):\n    "
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code + ending],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    # Ends when the watch has closed the pipe too.
    output, error = child.communicate(timeout=60)
    text = "the training process was ended and could not say why"
    assert (text in error) == ENDINGS[ending], error
    if ENDINGS[ending]:
        assert REMOVED in error and error.rstrip().endswith("python x.py --resume")
    assert output == ""


def test_errors_are_known_before_tensorflow_is_loaded():
    code = "import sys, training.script; assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    assert issubclass(device_errors.DeviceProblem, RuntimeError)
