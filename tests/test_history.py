"""history.csv comes back as it was written, or names the line that is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from storage.run_folder import RunFolder


def test_a_history_has_nan_for_what_is_missing(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text("epoch,loss,accuracy\n1,2.5,0.25\n2,nan,\n3,1.5")
    history = RunFolder(tmp_path).read_history()
    assert history[0] == {"epoch": 1, "loss": 2.5, "accuracy": 0.25}
    assert np.isnan([history[1]["loss"], history[1]["accuracy"], history[2]["accuracy"]]).all()
    assert history[2]["loss"] == 1.5


@pytest.mark.parametrize(
    "content, message",
    [(None, "does not exist"), ("", "epoch"), ("loss\n1\n", "epoch"), ("epoch\n1\nx\n", "line 3")],
)
def test_what_is_no_history_is_named_by_file_and_line(tmp_path, content, message):
    path = tmp_path / "history.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=message) as raised:
        RunFolder(tmp_path).read_history()
    assert str(path) in str(raised.value)
