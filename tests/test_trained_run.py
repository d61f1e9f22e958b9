"""A finished run is read back whole; one that asks for more than its files hold is refused."""

from __future__ import annotations

import json
import time

import h5py
import numpy as np
import pytest

from models.builders import BUILDERS
from storage.trained_run import FinishedRun
from tests.helpers import write_run


def edit_settings(folder, **arguments):
    settings = json.loads(folder.settings_json.read_text())
    settings["model"]["arguments"].update(arguments)
    folder.settings_json.write_text(json.dumps(settings))


@pytest.mark.parametrize("builder", sorted(BUILDERS))
def test_every_builder_comes_back_with_its_weights(tmp_path, builder):
    folder, model = write_run(tmp_path, builder)
    back = FinishedRun(folder).model
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), back.get_weights()))


@pytest.mark.parametrize(
    "arguments",
    [
        {"embedding_dim": 16384, "mlp_hidden_dim": 16384},
        {"number_of_layers": 16384},
        {"number_of_layers": 2},
        {"embedding_dim": 8},
        {"head_hidden_dims": []},
        {"embedding_dim": "4"},
        {"path": "elsewhere"},
    ],
    ids=str,
)
def test_a_model_of_other_sizes_than_its_weights_is_never_built(tmp_path, arguments):
    folder, _ = write_run(tmp_path, "vision_transformer")
    edit_settings(folder, **arguments)
    started = time.perf_counter()
    with pytest.raises(ValueError) as refused:
        FinishedRun(folder)
    message = str(refused.value)
    assert str(folder.weights_h5) in message and "\n" not in message
    assert time.perf_counter() - started < 30


def test_weights_from_another_file_are_not_read(tmp_path):
    folder, _ = write_run(tmp_path, "vision_transformer")
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(range(256)))
    with h5py.File(str(folder.weights_h5), "a") as file:
        places = []
        file.visititems(lambda name, item: places.append(name) if hasattr(item, "shape") else None)
        shape = file[places[0]].shape
        del file[places[0]]
        size = 4 * int(np.prod(shape))
        file.create_dataset(places[0], shape, np.float32, external=[(str(secret), 0, size)])
    with pytest.raises(ValueError, match="lies in another file"):
        FinishedRun(folder)


def test_a_history_without_the_columns_of_a_run_is_named(tmp_path):
    folder, _ = write_run(tmp_path, "vision_transformer")
    folder.write_history([{"epoch": 1, "loss": 2.0}])
    with pytest.raises(ValueError, match="history.csv has no column accuracy, validation_loss"):
        FinishedRun(folder).history()
