"""A checkpoint is whole or is told from one that is not; the last good one is never lost."""

from __future__ import annotations

import io
import json
import os
import pickle
import signal
import threading
import zipfile

import numpy as np
import pytest

from storage import checkpoints, files
from storage.run_folder import RunFolder
from tests.helpers import Killed
from training.stop_signals import StopSignals

ARRAYS = [np.arange(5, dtype=np.float32), np.float32(7) * np.ones((2, 3), np.float32)]
STATE = {"step": 3, "loss": 0.1 + 0.2, "history": [{"epoch": 1}], "name": "ü"}


def equal(arrays, others):
    return len(arrays) == len(others) and all(
        a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
        for a, b in zip(arrays, others)
    )


def test_comes_back_as_it_went(tmp_path):
    arrays = ARRAYS + [np.float32([np.pi, 1e-45, -0.0])] + [np.float32(i) for i in range(12)]
    checkpoints.save_checkpoint(tmp_path / "checkpoint", arrays, STATE)
    loaded, state, warning = checkpoints.load_checkpoint(tmp_path / "checkpoint")
    assert equal(loaded, arrays) and state == STATE and warning == ""


def test_no_checkpoint_is_none(tmp_path):
    assert checkpoints.load_checkpoint(tmp_path / "nothing") is None


def saved_twice(folder):
    older, newer = [array + 1 for array in ARRAYS], ARRAYS
    checkpoints.save_checkpoint(folder, older, {"number": 1})
    checkpoints.save_checkpoint(folder, newer, {"number": 2})
    return older, newer


def test_every_damage_is_noticed(tmp_path):
    older, newer = saved_twice(tmp_path)
    latest = tmp_path / checkpoints.LATEST
    whole = latest.read_bytes()
    damages = [whole[:length] for length in range(0, len(whole), 37)]
    for position in range(0, len(whole), 5):
        damages.append(whole[:position] + bytes([whole[position] ^ 0x11]) + whole[position + 1 :])
    noticed = 0
    for damage in damages:
        latest.write_bytes(damage)
        arrays, state, warning = checkpoints.load_checkpoint(tmp_path)
        # Some bytes of a zip file mean nothing, such as the time of day.
        assert equal(arrays, newer if state["number"] == 2 else older)
        assert bool(warning) == (state["number"] == 1)
        assert not warning or str(latest) in warning
        noticed += bool(warning)
    assert noticed > 0.8 * len(damages)


def test_all_damaged_is_an_error_that_names_the_files(tmp_path):
    saved_twice(tmp_path)
    for name in (checkpoints.LATEST, checkpoints.PREVIOUS):
        (tmp_path / name).write_bytes(b"PK torn")
    with pytest.raises(ValueError, match="(?s)latest.npz.*previous.npz"):
        checkpoints.load_checkpoint(tmp_path)


@pytest.mark.parametrize("last_rename", [0, 1])
@pytest.mark.parametrize("latest_is_damaged", [False, True])
def test_dying_at_a_rename_loses_nothing(tmp_path, monkeypatch, last_rename, latest_is_damaged):
    older, newer = saved_twice(tmp_path)
    if latest_is_damaged:
        (tmp_path / checkpoints.LATEST).write_bytes(b"PK torn")
    expected = older if latest_is_damaged else newer
    assert equal(checkpoints.load_checkpoint(tmp_path)[0], expected)
    renames = []

    def dying(source, target, rename=os.replace):
        if len(renames) == last_rename:
            raise Killed
        renames.append(target)
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", dying)
        # A killed process cleans nothing up.
        patch.setattr(os, "remove", lambda path: None)
        # One rename less where a damaged file was set aside: that save comes to its end.
        try:
            checkpoints.save_checkpoint(tmp_path, [array + 2 for array in ARRAYS], {"number": 3})
            expected = [array + 2 for array in ARRAYS]
        except Killed:
            pass
    assert equal(checkpoints.load_checkpoint(tmp_path)[0], expected)


def test_disk_full_leaves_the_last_one_and_no_rest(tmp_path):
    resource = pytest.importorskip("resource", reason="Windows cannot limit the size of a file")
    saved_twice(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20000, limits[1]))
    try:
        with pytest.raises(ValueError, match="latest.npz cannot be written: File too large"):
            checkpoints.save_checkpoint(tmp_path, [np.zeros(10000)], {"number": 3})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert checkpoints.load_checkpoint(tmp_path)[1] == {"number": 2}
    assert sorted(os.listdir(str(tmp_path))) == [checkpoints.LATEST, checkpoints.PREVIOUS]


def test_a_removed_run_does_not_come_back_as_a_shell(tmp_path):
    with pytest.raises(ValueError, match="latest.npz cannot be written"):
        checkpoints.save_checkpoint(tmp_path / "gone" / "checkpoint", ARRAYS, STATE)
    assert os.listdir(str(tmp_path)) == []


class Trap:
    """Leaves a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def npz(**members):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, member in members.items():
            archive.writestr(name + ".npy", member)
    return content.getvalue()


def npy(array):
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def test_nothing_in_a_checkpoint_is_executed(tmp_path):
    trap = tmp_path / "sprung"
    objects = np.empty(1, object)
    objects[0] = Trap(str(trap))
    content = io.BytesIO()
    np.savez(content, state=np.array(json.dumps(STATE)), array_0000=objects)
    for hostile in (content.getvalue(), pickle.dumps(objects[0])):
        (tmp_path / checkpoints.LATEST).write_bytes(hostile)
        with pytest.raises(ValueError, match="No sound checkpoint"):
            checkpoints.load_checkpoint(tmp_path)
    assert not trap.exists()


def test_a_zip_bomb_is_refused_unopened(tmp_path):
    bomb = npz(state=npy(np.array(json.dumps(STATE))), array_0000=npy(np.zeros(10**7)))
    assert len(bomb) < 10**6
    (tmp_path / checkpoints.LATEST).write_bytes(bomb)
    with pytest.raises(ValueError, match="larger unpacked"):
        checkpoints.load_checkpoint(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes in folders")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(str(tmp_path / checkpoints.LATEST))
    with pytest.raises(ValueError, match="not a file"):
        checkpoints.load_checkpoint(tmp_path)


def test_a_folder_belongs_to_one_run_and_is_swept(tmp_path):
    (tmp_path / "checkpoint").mkdir()
    rests = [tmp_path / "writing-1-weights.h5", tmp_path / "checkpoint" / "writing-1-latest.npz"]
    for rest in rests:
        rest.write_text("half")
    with RunFolder(tmp_path).locked():
        assert not any(rest.exists() for rest in rests)
        with pytest.raises(ValueError, match="in use by another run"):
            with RunFolder(tmp_path).locked():
                pass
    with RunFolder(tmp_path).locked():
        pass


def test_a_failed_block_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.txt"
    files.write_text(path, "old")
    with pytest.raises(ZeroDivisionError):
        with files.replacing(path) as temporary:
            temporary.write_text("ne")
            raise ZeroDivisionError
    assert path.read_text() == "old" and os.listdir(str(tmp_path)) == ["file.txt"]


def test_a_rename_waits_for_a_virus_scanner(tmp_path, monkeypatch):
    attempts = []

    def busy(source, target, rename=os.replace):
        attempts.append(target)
        if len(attempts) < 3:
            raise PermissionError(13, "Permission denied")
        rename(source, target)

    monkeypatch.setattr(os, "replace", busy)
    monkeypatch.setattr(files, "RENAME_PAUSES", (0, 0, 0))
    files.write_text(tmp_path / "file.txt", "new")
    assert (tmp_path / "file.txt").read_text() == "new"
    monkeypatch.setattr(files, "RENAME_PAUSES", (0,))
    attempts.clear()
    with pytest.raises(ValueError, match="other.txt cannot be written: Permission denied"):
        files.write_text(tmp_path / "other.txt", "new")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff", b"[" * 100000, b" " * 2**24 + b"1"],
    # The contents themselves would make names of megabytes.
    ids=["empty", "unfinished", "no text", "too deep", "too large"],
)
def test_json_that_cannot_be_read_is_named(tmp_path, content):
    path = tmp_path / "settings.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="settings.json cannot be read"):
        files.read_json(path)


@pytest.mark.parametrize(
    "value, example, same",
    [
        (1, 2, True),
        (1, 1.0, False),
        (True, 1, False),
        ("a", "", True),
        (None, "", False),
        ([1, 2], [5], True),
        ([1, "a"], [5], False),
        ([], [5], True),
        (["a"], [], True),
        ([1], [], False),
        ([1, 2], (5,), True),
        ("ab", ["a"], False),
        ({"a": 1}, {"a": 2}, True),
        ({"a": "1"}, {"a": 2}, False),
        ({}, {"a": 2}, False),
        ({"a": 1, "b": 1}, {"a": 2}, False),
    ],
)
def test_same_form(value, example, same):
    assert files.same_form(value, example) is same


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_waits_for_the_end_of_the_block_and_the_second_does_not(number, code):
    before = signal.getsignal(number)
    done = []
    with pytest.raises(KeyboardInterrupt):
        with StopSignals() as first, first.postponed():
            os.kill(os.getpid(), number)
            done.append("this step")
    assert done == ["this step"] and first.exit_code == code
    with pytest.raises(KeyboardInterrupt):
        with StopSignals() as second, second.postponed():
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), number)
            done.append("never")
    assert done == ["this step"] and second.exit_code == code
    assert signal.getsignal(number) == before


def test_outside_of_training_a_signal_stops_at_once():
    with pytest.raises(KeyboardInterrupt):
        with StopSignals():
            os.kill(os.getpid(), signal.SIGINT)
            raise AssertionError("went on")


def test_a_thread_trains_without_signals():
    entered = []

    def train():
        with StopSignals() as stop_signals, stop_signals.postponed():
            entered.append(stop_signals.received)

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert entered == [None]
