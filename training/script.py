"""What every training script does, in this order: flags, environment, GPU, model, training.

def build_model(settings):
    from vit_model import vision_transformer
    return with_settings(vision_transformer, settings)

def main(argv=None):
    return train_script(globals(), argv)
"""

from __future__ import annotations

import inspect
import sys
from functools import partial
from pathlib import Path
from typing import Any, Callable, Sequence

from backend.device_errors import DeviceProblem
from backend.environment import preflight, select_adapter
from backend.plain_text import fitting, one_line
from training.settings import Settings, settings_from


def train_script(script: dict[str, Any], argv: Sequence[str] | None = None) -> Path:
    """Train as a script's constants and the flags of its command say; return the run's folder.

    script is the globals() of the script: its constants, its `build_model(settings)` and, where it
    has one, its `build_objective(settings)` (see training.step.Classification). argv are the flags,
    by default those of the command line. Raises ValueError for settings and data that cannot be
    used.
    """
    settings = settings_from(script, argv)
    preflight()
    select_adapter(settings.DML_VISIBLE_DEVICES)
    # Not at the top, because loading TensorFlow settles which adapters it sees.
    from training.train import train

    return train(script["build_model"](settings), settings, script.get("build_objective"))


def with_settings(builder: Callable, settings: Settings) -> partial:
    """Return a model's builder with every argument that a constant of the script is named after.

    NUMBER_OF_LAYERS becomes number_of_layers; what is left, such as image_shape, the data set
    decides.
    """
    constants = vars(settings)
    names = [name for name in inspect.signature(builder).parameters if name.upper() in constants]
    return partial(builder, **{name: constants[name.upper()] for name in names})


def run(main: Callable[[], Any]) -> None:
    """Call main() and exit: bad input becomes one line on standard error and exit code 2.

    What the device has ended becomes its explanation and exit code 1.
    """
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
