"""What a real run of train_cifar10.py costs beside its steps: start-up, waiting, memory.

    python -m benchmarks.default_run [--json FILE] [flags of train_cifar10.py]

Start-up is the time from the command to the end of the first step, less the import of TensorFlow;
waiting is the share of the later steps' time in which the next batch was not there yet; memory is
the peak of the whole process, with validation, test and report. For two minutes unless
--time-limit-minutes is given.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from typing import Any, Callable

from benchmarks import timing
from storage import files


def default_run(flags: list[str], command_given: float) -> dict[str, Callable]:
    """Return a call that trains and returns the figures; command_given is of time.time()."""
    # Not at the top: they are part of the start-up that is measured.
    import train_cifar10
    from backend.environment import select_adapter

    select_adapter(train_cifar10.DML_VISIBLE_DEVICES)
    before = time.time()
    from backend.runtime import runtime_name

    import_seconds = time.time() - before
    from training import step, trainer

    waits, steps, first_step_ended = [], [], []
    take_step, training_batches = step.TrainingStep.__call__, trainer.training_batches

    def timed_batches(*positional, **named):
        batches = iter(training_batches(*positional, **named))
        while True:
            started = time.perf_counter()
            try:
                batch = next(batches)
            except StopIteration:
                return
            waits.append(time.perf_counter() - started)
            yield batch

    def timed_step(self, *positional, **named):
        started = time.perf_counter()
        loss, accuracy = take_step(self, *positional, **named)
        # On a GPU a step has ended only when its loss is there.
        loss = float(loss)
        steps.append(time.perf_counter() - started)
        first_step_ended.append(time.time())
        return loss, accuracy

    def figures() -> dict[str, Any]:
        trainer.training_batches, step.TrainingStep.__call__ = timed_batches, timed_step
        with tempfile.TemporaryDirectory() as folder:
            train_cifar10.main(["--time-limit-minutes", "2", "--output-dir", folder] + flags)
        if len(steps) < 2:
            raise ValueError("one step is not enough: raise --time-limit-minutes")
        waited, worked = sum(waits[1:]), sum(steps[1:])
        return {
            "runtime": runtime_name(),
            "import_seconds": import_seconds,
            "start_up_seconds": first_step_ended[0] - command_given - import_seconds,
            "steps": len(steps),
            "waiting_share": waited / (waited + worked),
            "peak_gigabytes": timing.peak_bytes() / 1e9,
        }

    return {"figures": figures}


def main(argv=None) -> None:
    """Train with the default settings, print the figures and write them if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--json", help="file to write the figures to")
    arguments, flags = parser.parse_known_args(argv)
    machine = timing.machine()
    # A process of its own, so that its clock starts with its Python.
    factory, now = "benchmarks.default_run:default_run", time.time()
    with timing.Contender("train_cifar10.py", factory, flags, now) as run:
        figures = dict(machine, **run("figures"))
    print(
        "start-up {start_up_seconds:.1f} s beside {import_seconds:.1f} s of importing TensorFlow, "
        "{waiting_share:.2%} of {steps} steps waiting, peak {peak_gigabytes:.2f} GB".format(
            **figures
        )
    )
    if arguments.json:
        files.write_json(arguments.json, figures)


if __name__ == "__main__":
    main()
