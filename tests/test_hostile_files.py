"""Files of a run that are damaged, edited by hand or a stranger's: one line that names the file."""

from __future__ import annotations

import io
import json
import os
import time
import zipfile

import h5py
import numpy as np
import pytest

from storage import checkpoints, weights_file
from storage.run_folder import RunFolder
from tests.helpers import RESULTS, SETTINGS


def places(value, path=()):
    """Yield the path of every part of a value of JSON."""
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    for key, part in parts:
        yield path + (key,)
        if isinstance(part, (dict, list)):
            yield from places(part, path + (key,))


def changed(value, path, change):
    value = json.loads(json.dumps(value))
    inner = value
    for key in path[:-1]:
        inner = inner[key]
    change(inner, path[-1])
    return value


def refused(call, file):
    """Return the one line that a ValueError says, which must name the file."""
    with pytest.raises(ValueError) as problem:
        call()
    message = str(problem.value)
    assert str(file) in message and "\n" not in message and len(message) < 1000
    return message


def test_settings_and_results_come_back(tmp_path):
    folder = RunFolder(tmp_path)
    folder.settings_json.write_text(json.dumps(SETTINGS))
    folder.results_json.write_text(json.dumps(RESULTS))
    assert (folder.read_settings(), folder.read_results()) == (SETTINGS, RESULTS)


JUNK = [None, [[1]], {"a": {}}, float("nan"), 10**400, -(10**19), "1e400"]


@pytest.mark.parametrize("junk", JUNK, ids=range(len(JUNK)))
@pytest.mark.parametrize("name", ["settings", "results"])
def test_every_part_of_another_form_is_named(tmp_path, name, junk):
    folder = RunFolder(tmp_path)
    whole = {"settings": SETTINGS, "results": RESULTS}[name]
    path = {"settings": folder.settings_json, "results": folder.results_json}[name]
    read = {"settings": folder.read_settings, "results": folder.read_results}[name]
    for place in places(whole):
        old = whole
        for key in place:
            old = old[key]
        if isinstance(junk, str) and isinstance(old, (str, int, float)) and place[0] != "dataset":
            # A text among texts or plain values.
            continue
        if isinstance(junk, int) and place[0] in ("constants", "defaults") and junk > -(10**20):
            continue
        text = json.dumps(changed(whole, place, lambda part, key: part.__setitem__(key, junk)))
        path.write_text(text.replace('"1e400"', "1e400"))
        refused(read, path)


@pytest.mark.parametrize("name", ["settings", "results"])
def test_every_missing_part_is_named(tmp_path, name):
    folder = RunFolder(tmp_path)
    whole = {"settings": SETTINGS, "results": RESULTS}[name]
    path = {"settings": folder.settings_json, "results": folder.results_json}[name]
    read = {"settings": folder.read_settings, "results": folder.read_results}[name]
    optional = ("AUGMENTATIONS", "LEARNING_RATE", "class_names", "num_heads", "head_hidden_dims")
    for place in places(whole):
        if (
            isinstance(place[-1], int)
            or place[-1] in optional
            or len(place) > 1
            and place[0]
            in (
                "defaults",
                "versions",
            )
        ):
            continue
        path.write_text(json.dumps(changed(whole, place, lambda part, key: part.pop(key))))
        assert repr(place[-1]) in refused(read, path)


NO_JSON = {
    "empty": "",
    "list": "[]",
    "number": "3",
    "torn": "nul",
    "deep objects": '{"a": ' * 5000,
    "deep lists": "[" * 100_000,
    "digits": "1" * 2**20,
    "no UTF-8": '"\ud800"',
    "too long": "{" + " " * 2**25,
}


@pytest.mark.parametrize("kind", sorted(NO_JSON))
def test_what_is_no_json_of_a_run_is_named_at_once(tmp_path, kind):
    folder = RunFolder(tmp_path)
    folder.settings_json.write_bytes(NO_JSON[kind].encode("utf-8", "surrogatepass"))
    started = time.perf_counter()
    refused(folder.read_settings, folder.settings_json)
    assert time.perf_counter() - started < 5


def test_a_pipe_is_not_waited_for(tmp_path):
    folder = RunFolder(tmp_path)
    for path, read in (
        (folder.settings_json, folder.read_settings),
        (folder.results_json, folder.read_results),
        (folder.history_csv, folder.read_history),
    ):
        os.mkfifo(str(path))
        refused(read, path)
    os.mkfifo(str(folder.weights_h5))
    with pytest.raises(ValueError, match="no ordinary file"):
        weights_file.shapes_of(folder.weights_h5)


NO_HISTORY = {
    "infinite": b"epoch\n1\n1e400\n",
    "long number": b"epoch\n" + b"9" * 400 + b"\n",
    "no UTF-8": b"epoch\n\xff\n",
    "word": b"epoch\nx\n",
    "long cell": b"epoch\n1\n" + b'"' + b"1" * 200_000 + b'"\n',
    "no epochs": b"loss\n1\n",
    "too long": b"epoch\n" + b"1\n" * 9_000_000,
}


@pytest.mark.parametrize("kind", sorted(NO_HISTORY))
def test_a_history_of_something_else_is_named(tmp_path, kind):
    folder = RunFolder(tmp_path)
    folder.history_csv.write_bytes(NO_HISTORY[kind])
    refused(folder.read_history, folder.history_csv)


def plain_weights(path):
    """Write what Keras writes, in small."""
    with h5py.File(str(path), "w") as file:
        file.attrs["layer_names"] = np.array([b"dense"])
        group = file.create_group("dense")
        group.attrs["weight_names"] = np.array([b"kernel", b"bias"])
        group.create_dataset("dense/kernel", data=np.ones((3, 2), np.float32))
        group.create_dataset("dense/bias", data=np.ones(2, np.float32))
        group.create_dataset("scalar", data=np.float32(1))


def test_shapes_of_plain_weights(tmp_path):
    plain_weights(tmp_path / "weights.h5")
    shapes = weights_file.shapes_of(tmp_path / "weights.h5")
    assert sorted(shapes) == [(), (2,), (3, 2)] and weights_file.numbers_in(shapes) == 9


def external_storage(file, secret):
    file.create_dataset("x", (8,), np.float32, external=[(str(secret), 0, 32)])


def external_link(file, secret):
    file["x"] = h5py.ExternalLink(str(secret), "/dense/dense/kernel")


def soft_link(file, secret):
    file["x"] = h5py.SoftLink("/dense")


def virtual(file, secret):
    layout = h5py.VirtualLayout((3, 2), np.float32)
    layout[:] = h5py.VirtualSource(str(secret), "dense/dense/kernel", (3, 2))
    file.create_virtual_dataset("x", layout)


def huge(file, secret):
    file.create_dataset("x", (30000, 30000), np.float32)


def packed(file, secret):
    file.create_dataset("x", data=np.zeros(10**6, np.float32), compression="gzip")


def circle(file, secret):
    file["dense/again"] = file["dense"]


def texts(file, secret):
    file["x"] = b"text"


def named_type(file, secret):
    file["x"] = np.dtype("f4")


def objects(file, secret):
    file.create_dataset("x", (2,), h5py.special_dtype(vlen=np.dtype("f4")))


@pytest.mark.parametrize(
    "hostile",
    [
        external_storage,
        external_link,
        soft_link,
        virtual,
        huge,
        packed,
        circle,
        texts,
        named_type,
        objects,
    ],
    ids=lambda hostile: hostile.__name__,
)
def test_weights_that_lie_elsewhere_or_declare_more_are_refused(tmp_path, hostile):
    secret = tmp_path / "secret.h5"
    plain_weights(secret)
    path = tmp_path / "weights.h5"
    plain_weights(path)
    with h5py.File(str(path), "a") as file:
        hostile(file, secret)
    with pytest.raises(ValueError):
        weights_file.shapes_of(path)


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def header(text):
    text = text.encode() + b"\n"
    return b"\x93NUMPY\x02\x00" + len(text).to_bytes(4, "little") + text


STATE = npy(np.array(json.dumps({"number_of_arrays": 1, "state": {}})))


@pytest.mark.parametrize(
    "member",
    [
        b"no array",
        header("(" * 1_000_000),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (30000, 30000), }") + bytes(64),
        header("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }") + bytes(8),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (%s,), }" % ("9" * 400)),
    ],
    ids=["no npy", "deep", "huge", "object", "10^400"],
)
def test_a_checkpoint_whose_member_is_no_array_is_named(tmp_path, member):
    path = tmp_path / checkpoints.LATEST
    with zipfile.ZipFile(str(path), "w") as archive:
        archive.writestr("state.npy", STATE)
        archive.writestr("array_0000.npy", member)
    refused(lambda: checkpoints.load_checkpoint(tmp_path), path)


def test_a_checkpoint_of_too_many_members_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "MAX_MEMBERS", 10)
    checkpoints.save_checkpoint(tmp_path, [np.zeros(1, np.float32)] * 10, {})
    path = tmp_path / checkpoints.LATEST
    assert "11 members" in refused(lambda: checkpoints.load_checkpoint(tmp_path), path)


def test_arrays_of_every_kind_come_back(tmp_path):
    arrays = [np.zeros((), np.float32), np.zeros((0, 3), np.float16), np.ones((2, 3, 4), np.int64)]
    arrays += [np.asfortranarray(np.ones((2, 3))), np.ones(4, bool)]
    checkpoints.save_checkpoint(tmp_path, arrays, {"name": "é", "seconds": 1.5})
    loaded, state, warning = checkpoints.load_checkpoint(tmp_path)
    assert state == {"name": "é", "seconds": 1.5} and not warning
    assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(arrays, loaded))
