"""What the errors of a GPU mean, said where they happen, and what to do about them.

Two kinds: those that TensorFlow raises, and those after which DirectML ends the whole process at
once, so that no line of Python runs any more. For the second kind a small process keeps watch.

Sources of the messages: github.com/microsoft/tensorflow-directml, issues 28, 38, 286, 294, 376;
tensorflow-directml-plugin, issues 332, 341; aka.ms/tfdmltimeout.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from typing import Callable, Iterator

_OUT_OF_MEMORY = "ResourceExhausted RESOURCE_EXHAUSTED E_OUTOFMEMORY 0x8007000e".split() + [
    "OOM when allocating",
    "ran out of memory",
]
# Microsoft's names and numbers of: removed, hung, reset, error inside the driver.
_DEVICE_REMOVED = (
    "DXGI_ERROR_ DEVICE_REMOVED DEVICE_HUNG DEVICE_RESET DeviceRemovedReason tfdmltimeout "
    "0x887a0005 0x887a0006 0x887a0007 0x887a0020".split()
    + ["device removed"]
)
_XLA = ["Could not find compiler for platform", "could not find registered compiler"]
_NO_KERNEL = ["OpKernel"]
_FLOAT64 = ["DT_DOUBLE", "float64"]

# Reads until its input ends. The last thing it gets is a full stop, unless the process that should
# have sent it is gone.
_WATCH = """
import signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
if not sys.stdin.buffer.read().endswith(b"."):
    sys.stderr.write(sys.argv[1])
"""


class DeviceProblem(RuntimeError):  # noqa: N818
    """A run ended by its device; the message says what that means and what to do."""


def explain(
    error: BaseException, batch_size: int, images_at_once: int, resume_command: str = ""
) -> str | None:
    """Return what an error of TensorFlow means and what to do; None if it is not one of these.

    images_at_once of a batch pass through the model; resume_command continues the run, "" where
    there is nothing to continue. Only the message counts, and the name of the class: the classes
    differ between the versions of TensorFlow.
    """
    advice = _less_at_once(batch_size, images_at_once)
    text = f"{type(error).__name__}: {error}".lower()

    def says(words) -> bool:
        return any(word.lower() in text for word in words)

    if says(_DEVICE_REMOVED):
        return _removed(advice, _how_to_go_on(resume_command))
    if says(_OUT_OF_MEMORY):
        return (
            "The device is out of memory. Close other programs that use it, or give it less at "
            f"once:\n{advice}\n{_how_to_go_on(resume_command)}"
        )
    if says(_XLA):
        return (
            "XLA was asked for, and DirectML has no XLA compiler. Take jit_compile=True,\n"
            "tf.config.optimizer.set_jit and Keras' new-style optimizers out of your own code,\n"
            "and unset TF_XLA_FLAGS. Nothing in this project asks for XLA."
        )
    if says(_NO_KERNEL) and says(_FLOAT64):
        return (
            "An operation was asked for in float64, which DirectML does not compute. Use float32:\n"
            "tf.cast(x, tf.float32), and dtype=np.float32 for NumPy arrays, whose default is "
            "float64.\n`python -m tools.doctor --audit SCRIPT` names the layer."
        )
    return None


@contextlib.contextmanager
def explained(
    batch_size: int,
    images_at_once: int,
    resume_command: Callable[[], str] = str,
    watch: str | None = None,
) -> Iterator[None]:
    """Turn an error that `explain` knows into a DeviceProblem.

    resume_command() is asked for when there is an error. With watch, also explain on standard error
    when this process is ended without a word of Python: watch is the command that continues the run
    if it has a checkpoint by then, or "".
    """
    watcher = None
    if watch is not None:
        go_on = f"If it has saved a checkpoint, go on from there:\n\n  {watch}" if watch else ""
        watcher = _start_watch(_removed(_less_at_once(batch_size, images_at_once), go_on))
    try:
        yield
    except Exception as error:
        explanation = explain(error, batch_size, images_at_once, resume_command())
        if explanation is None:
            raise
        # The first line names the operation; more lines are TensorFlow's own stack.
        first_line = str(error).strip().split("\n")[0]
        raise DeviceProblem(f"{first_line}\n\n{explanation}") from error
    finally:
        if watcher:
            # It may be gone already, where somebody has ended all processes of the terminal.
            with contextlib.suppress(OSError):
                watcher.communicate(b".")


def _start_watch(text: str) -> subprocess.Popen:
    message = "\nerror: the training process was ended and could not say why.\n\n" + text + "\n"
    return subprocess.Popen([sys.executable, "-S", "-c", _WATCH, message], stdin=subprocess.PIPE)


def _removed(advice: str, how_to_go_on: str) -> str:
    return (
        "Most often this means that the GPU was reset: one operation took it longer than the 2\n"
        "seconds that Windows allows (TDR, https://aka.ms/tfdmltimeout), or its driver failed.\n"
        "Install the newest driver from AMD, Intel or NVIDIA. If it happens again, give the GPU\n"
        f"less at once: {advice}\n{how_to_go_on}"
    )


def _less_at_once(batch_size: int, images_at_once: int) -> str:
    """Return the advice to pass half as many images at once through the model."""
    sizes = range(images_at_once // 2, 0, -1)
    half = next((size for size in sizes if batch_size % size == 0), 0)
    if not half:
        return (
            "it is one image at a time already, so only a smaller model helps: a larger PATCH_SIZE "
            "with PATCH_STRIDE, or a smaller IMAGE_SIZE."
        )
    return f"--micro-batch-size {half} (with the same updates)."


def _how_to_go_on(resume_command: str) -> str:
    if not resume_command:
        return "If it had saved a checkpoint, --resume goes on from there."
    return f"The last checkpoint is kept. To go on from it:\n\n  {resume_command}"
