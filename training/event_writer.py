"""TensorBoard's view of a run."""

from __future__ import annotations

from pathlib import Path

from backend.runtime import summary, tf
from training import console


class EventWriter:
    """Write the epochs of a run as TensorBoard's events, into a folder made at the first one."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._writer = None

    def write(self, row: dict[str, float]) -> None:
        """Write a row of the history; the run goes on where that is not possible."""
        try:
            if self._writer is None:
                self._writer = summary.create_file_writer(str(self.folder))
            with self._writer.as_default():
                for name, value in row.items():
                    if name != "epoch":
                        summary.scalar(name, value, step=int(row["epoch"]))
        except tf.errors.OpError as problem:
            reason = str(problem).strip().split("\n")[0]
            console.line(f"note: TensorBoard's events cannot be written: {reason}")
