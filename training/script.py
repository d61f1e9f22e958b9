"""What every training script does, in this order: flags, environment, GPU, model, training.

def build_model(settings):
    from vit_model import vision_transformer
    return with_settings(vision_transformer, settings)

def main(argv=None):
    return train_script(globals(), argv)
"""

from __future__ import annotations

# Only what Python has loaded anyway: all else waits for `run`, which knows what Ctrl-C means.
import contextlib
import os
import signal
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Callable, Iterator, Sequence

if TYPE_CHECKING:
    from pathlib import Path

    from training.settings import Settings


def train_script(script: dict[str, Any], argv: Sequence[str] | None = None) -> Path:
    """Train as a script's constants and the flags of its command say; return the run's folder.

    script is the globals() of the script: its constants, its `build_model(settings)` and, where it
    has one, its `build_objective(settings)` (see training.step.Classification). argv are the flags,
    by default those of the command line. Raises ValueError for settings and data that cannot be
    used.
    """
    from backend.environment import preflight, select_adapter
    from training.settings import settings_from

    settings = settings_from(script, argv)
    preflight()
    select_adapter(settings.DML_VISIBLE_DEVICES)
    # Loading TensorFlow settles which adapters it sees.
    from training.train import train

    return train(script["build_model"](settings), settings, script.get("build_objective"))


def with_settings(builder: Callable, settings: Settings) -> partial:
    """Return a model's builder with every argument that a constant of the script is named after.

    NUMBER_OF_LAYERS becomes number_of_layers; what is left, such as image_shape, the data set
    decides.
    """
    import inspect

    constants = vars(settings)
    names = [name for name in inspect.signature(builder).parameters if name.upper() in constants]
    return partial(builder, **{name: constants[name.upper()] for name in names})


def run(main: Callable[[], Any]) -> None:
    """Call main() and exit: bad input becomes one line on standard error and exit code 2.

    What the device has ended becomes its explanation and exit code 1.
    """
    with interrupted_at_once():
        from backend.device_errors import DeviceProblem
        from backend.plain_text import fitting, one_line

        try:
            main()
        except (ValueError, OSError) as problem:
            line = fitting(one_line(problem), sys.stderr.encoding)
            sys.stderr.write(f"error: {line}\n")
            sys.exit(2)
        except DeviceProblem as problem:
            sys.stderr.write(f"error: {problem}\n")
            sys.exit(1)
        except KeyboardInterrupt:
            sys.stderr.write("\nstopped.\n")
            sys.exit(130)


@contextlib.contextmanager
def interrupted_at_once() -> Iterator[None]:
    """Let Ctrl-C end the program with one line, wherever in this block it is.

    Libraries that are being loaded turn KeyboardInterrupt into errors of their own. Training has
    its own way with signals, training.stop_signals, because there is something to save.
    """
    # Python lets only the main thread handle signals.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)


def _end(number: int, frame: Any) -> None:
    # Not `print`: the signal may have come in the middle of one.
    with contextlib.suppress(OSError):
        os.write(2, b"\nstopped.\n")
    os._exit(128 + number)
