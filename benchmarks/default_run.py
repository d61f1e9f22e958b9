"""What a real run of train_cifar10.py costs beside its steps: start-up, waiting, memory.

    python -m benchmarks.default_run [--json FILE] [flags of train_cifar10.py]

Start-up is the time from TensorFlow's import to the end of the first step; waiting is the share of
the steps' time in which the next batch was not there yet; memory is the peak of the whole process,
with validation, test and report. For two minutes unless --time-limit-minutes is given.
"""

import argparse
import os
import tempfile
import time

import files
import train_cifar10
from benchmarks import timing


def main(argv=None) -> None:
    """Train with the default settings, print the figures and write them if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--json", help="file to write the figures to")
    arguments, flags = parser.parse_known_args(argv)
    # The script cannot choose an adapter any more once TensorFlow is here.
    os.environ.setdefault("DML_VISIBLE_DEVICES", train_cifar10.DML_VISIBLE_DEVICES)
    before = time.perf_counter()
    from runtime import runtime_name

    imported = time.perf_counter()
    import datasets
    import training_step

    clock = {"waited": 0.0, "first_step": 0.0}
    steps = []
    take_step, training_batches = training_step.TrainingStep.__call__, datasets.training_batches

    def timed_batches(*positional, **named):
        batches = iter(training_batches(*positional, **named))
        while True:
            started = time.perf_counter()
            try:
                batch = next(batches)
            except StopIteration:
                return
            # The first batch waits for the pipeline to start: that is start-up.
            if steps:
                clock["waited"] += time.perf_counter() - started
                steps[-1] += time.perf_counter() - started
            yield batch

    def timed_step(self, *positional, **named):
        started = time.perf_counter()
        loss, accuracy = take_step(self, *positional, **named)
        # On a GPU a step has ended only when its loss is there.
        loss = float(loss)
        steps.append(time.perf_counter() - started)
        if len(steps) == 1:
            clock["first_step"] = time.perf_counter()
        return loss, accuracy

    datasets.training_batches, training_step.TrainingStep.__call__ = timed_batches, timed_step
    with tempfile.TemporaryDirectory() as folder:
        train_cifar10.main(["--time-limit-minutes", "2", "--output-dir", folder] + flags)
    figures = dict(
        timing.machine(),
        runtime=runtime_name(),
        import_seconds=imported - before,
        start_up_seconds=clock["first_step"] - imported,
        steps=len(steps),
        waiting_share=clock["waited"] / sum(steps[1:]),
        peak_gigabytes=timing.peak_bytes() / 1e9,
    )
    print(
        "start-up {start_up_seconds:.1f} s after {import_seconds:.1f} s of importing TensorFlow, "
        "{waiting_share:.2%} of {steps} steps waiting, peak {peak_gigabytes:.2f} GB".format(
            **figures
        )
    )
    if arguments.json:
        files.write_json(arguments.json, figures)


if __name__ == "__main__":
    main()
