"""Official archives: download, checksum, formats, and what stands in without internet."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import socket
import tarfile

import numpy as np
import pytest

import train_cifar10
from backend.runtime import keras
from datasets import official
from datasets.catalogue import NAMED_DATASETS
from datasets.dataset import load_dataset
from tests.helpers import saved_npz, small_arrays
from training.settings import settings_from
from training.train import shortened


def test_official_names_come_with_a_file_of_that_name(tmp_path):
    saved_npz(tmp_path / "cifar10.npz", **small_arrays(classes=10))
    dataset = load_dataset("cifar10", data_dir=str(tmp_path))
    assert dataset.class_names[0] == "airplane" and dataset.class_names[9] == "truck"
    saved_npz(tmp_path / "cifar10.npz", **small_arrays(classes=11))
    with pytest.raises(ValueError, match="cifar10.npz.*label 10.*0..9"):
        load_dataset("cifar10", data_dir=str(tmp_path))


def archive(files):
    """Return the bytes of a .tar.gz in the official layout."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo("cifar/" + name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def cifar_archive(labels_key=b"labels", batches=("data_batch_1", "data_batch_2", "test_batch")):
    """Return a small official archive, and the images in it by batch."""
    random = np.random.RandomState(0)
    images = {name: random.randint(0, 256, (10, 3072)).astype(np.uint8) for name in batches}
    files = {}
    for name, data in images.items():
        content = pickle.dumps({b"data": data, labels_key: list(range(10))}, protocol=3)
        # NumPy 2 writes its new module name; the official archives have the old one.
        files[name] = content.replace(b"numpy._core.multiarray\n", b"numpy.core.multiarray\n")
    return archive(files), images


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """Return a function that puts bytes where Keras keeps downloads."""

    def put(name, content, verified=True):
        path = tmp_path / "cached_archive"
        path.write_bytes(content)
        monkeypatch.setattr(keras.utils, "get_file", lambda *arguments, **options: str(path))
        if verified:
            row = NAMED_DATASETS[name]._replace(sha256=hashlib.sha256(content).hexdigest())
            monkeypatch.setitem(NAMED_DATASETS, name, row)

    return put


def test_cifar10_archive_is_read(tmp_path, cached):
    content, images = cifar_archive()
    cached("cifar10", content)
    dataset = load_dataset("cifar10", data_dir=str(tmp_path))
    assert dataset.x_train.shape == (20, 32, 32, 3) and dataset.x_test.shape == (10, 32, 32, 3)
    # The archive keeps the three colour planes one after the other.
    np.testing.assert_array_equal(
        dataset.x_train[10, :, :, 1].ravel(), images["data_batch_2"][0, 1024:2048]
    )
    assert dataset.class_names[3] == "cat" and not dataset.is_stand_in


def test_cifar100_archive_is_read():
    content, images = cifar_archive(b"fine_labels", ("train", "test"))
    arrays = official.read_cifar(content)
    assert arrays["y_train"].tolist() == list(range(10))
    np.testing.assert_array_equal(arrays["x_test"][9, :, :, 0].ravel(), images["test"][9, :1024])


def test_mnist_archive_is_read(tmp_path, cached):
    buffer = io.BytesIO()
    np.savez(buffer, **small_arrays(classes=10, shape=(28, 28)))
    cached("mnist", buffer.getvalue())
    dataset = load_dataset("mnist", data_dir=str(tmp_path))
    assert dataset.image_shape == (28, 28, 1) and dataset.class_names[7] == "7"


def test_wrong_checksum_is_refused_before_anything_is_unpickled(tmp_path, cached, monkeypatch):
    cached("cifar10", cifar_archive()[0], verified=False)
    row = NAMED_DATASETS["cifar10"]._replace(reader=lambda content: pytest.fail("was read"))
    monkeypatch.setitem(NAMED_DATASETS, "cifar10", row)
    with pytest.raises(ValueError, match="cached_archive: SHA-256 is .* Delete the file"):
        load_dataset("cifar10", data_dir=str(tmp_path))


def test_unpickling_knows_arrays_only(tmp_path):
    class Attack:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "attacked"),)

    content = pickle.dumps(Attack(), protocol=2)
    with pytest.raises(ValueError, match="mkdir, which is refused"):
        official.read_cifar(archive({"test_batch": content}))
    assert not (tmp_path / "attacked").exists()


@pytest.mark.parametrize("name", [name for name, row in NAMED_DATASETS.items() if row.stand_in])
def test_offline_synthetic_images_of_the_same_form_stand_in(tmp_path, monkeypatch, name):
    def offline(*arguments, **options):
        raise Exception("URL fetch failure: no route to host")

    monkeypatch.setattr(keras.utils, "get_file", offline)
    row = NAMED_DATASETS[name]
    dataset = load_dataset(name, data_dir=str(tmp_path), images_per_class=2)
    assert dataset.is_stand_in and dataset.name == row.stand_in
    assert name in dataset.notes[0] and "no route to host" in dataset.notes[0]
    assert dataset.image_shape == row.image_shape
    assert dataset.number_of_classes == len(row.class_names)


def test_downloads_time_out_and_leave_the_default_alone(monkeypatch):
    seen = []

    def slow(*arguments, **options):
        seen.append(socket.getdefaulttimeout())
        raise OSError("timed out")

    before = socket.getdefaulttimeout()
    monkeypatch.setattr(keras.utils, "get_file", slow)
    with pytest.raises(official.DownloadError, match="timed out"):
        official.download("https://example.org/archive", sha256="0" * 64)
    assert seen == [official.TIMEOUT_SECONDS]
    assert socket.getdefaulttimeout() == before


def test_the_official_class_names_are_complete():
    for name, count in (("cifar10", 10), ("cifar100", 100), ("mnist", 10)):
        class_names = NAMED_DATASETS[name].class_names
        assert len(set(class_names)) == count and list(class_names) == sorted(class_names)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_an_archive_that_lies_in_the_data_dir_is_read(tmp_path, monkeypatch, name):
    content, images = cifar_archive()
    row = NAMED_DATASETS[name]._replace(sha256=hashlib.sha256(content).hexdigest())
    row = row._replace(class_names=tuple("abcdefghij"))
    monkeypatch.setitem(NAMED_DATASETS, name, row)
    monkeypatch.setattr(keras.utils, "get_file", lambda *_, **__: pytest.fail("was downloaded"))
    path = tmp_path / row.url.rsplit("/", 1)[-1]
    path.write_bytes(content)
    dataset = load_dataset(name, data_dir=str(tmp_path))
    assert dataset.name == name and len(dataset.x_train) == 20 and not dataset.is_stand_in
    path.write_bytes(content + b" ")
    with pytest.raises(ValueError, match=f"{path.name}: SHA-256 is"):
        load_dataset(name, data_dir=str(tmp_path))


def test_a_folder_without_pictures_does_not_hide_an_official_data_set(tmp_path, cached):
    (tmp_path / "mnist" / "raw").mkdir(parents=True)
    (tmp_path / "mnist" / "raw" / "train-images-idx3-ubyte").write_bytes(b"0")
    buffer = io.BytesIO()
    np.savez(buffer, **small_arrays(classes=10, shape=(28, 28)))
    cached("mnist", buffer.getvalue())
    assert load_dataset("mnist", data_dir=str(tmp_path)).image_shape == (28, 28, 1)


def test_a_stand_in_says_where_data_was_looked_for_and_trains_shortly(tmp_path, monkeypatch):
    def offline(*arguments, **options):
        raise Exception("no route to host")

    monkeypatch.setattr(keras.utils, "get_file", offline)
    dataset = load_dataset("cifar10", data_dir=str(tmp_path), images_per_class=2)
    for words in (str(tmp_path), "cifar10.npz", "cifar-10-python.tar.gz", "DATA_DIR"):
        assert words in dataset.notes[0]
    settings = settings_from(vars(train_cifar10), [])
    short = shortened(settings, dataset)
    assert settings.EPOCHS == 3 and "EPOCHS is 3 for it, not 100" in short.notes[-1]
    settings = settings_from(vars(train_cifar10), ["--epochs", "7"])
    assert shortened(settings, dataset) is dataset and settings.EPOCHS == 7
