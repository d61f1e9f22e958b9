"""CIFAR-10, CIFAR-100 and MNIST: where they come from, how they are verified, what is in them.

Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images"; LeCun et al. 1998,
"Gradient-Based Learning Applied to Document Recognition".
"""

from __future__ import annotations

import hashlib
import io
import pickle
import socket
import tarfile
from typing import Any, NamedTuple

import numpy as np

from backend.runtime import keras
from datasets.npz_files import read_npz

# How long one network operation may take before the machine counts as offline.
TIMEOUT_SECONDS = 10


class OfficialDataset(NamedTuple):
    """One archive: its address, its SHA-256, its classes, and the synthetic set that stands in."""

    url: str
    sha256: str
    class_names: tuple[str, ...]
    stand_in: str


class DownloadError(Exception):
    """The archive could not be had: no network, no space, no such address."""


def download(name: str) -> dict[str, np.ndarray]:
    """Return x_train, y_train, x_test, y_test of "cifar10", "cifar100" or "mnist", cached by Keras.

    Images are uint8 (count, 32, 32, 3), or (count, 28, 28) for MNIST. Raises DownloadError where
    there is no archive to be had, and ValueError when an archive is not the official one.
    """
    path = _fetch(OFFICIAL_DATASETS[name])
    with open(path, "rb") as file:
        content = file.read()
    # Not left to Keras: what is hashed here are the very bytes that are unpickled below.
    found, expected = hashlib.sha256(content).hexdigest(), OFFICIAL_DATASETS[name].sha256
    if found != expected:
        raise ValueError(
            f"{path}: SHA-256 is {found}, the official archive has {expected}. Delete the file "
            "and try again."
        )
    return read_npz(io.BytesIO(content), path) if name == "mnist" else read_cifar(content)


def _fetch(source: OfficialDataset) -> str:
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_SECONDS)
    try:
        return keras.utils.get_file(
            source.url.rsplit("/", 1)[-1],
            origin=source.url,
            file_hash=source.sha256,
            cache_subdir="datasets",
        )
    # Keras' word for a download that does not have the expected checksum.
    except ValueError as error:
        raise ValueError(f"{source.url}: {error}") from error
    # The Kerases differ in what they raise for a failed download, down to bare Exception.
    except Exception as error:
        raise DownloadError(f"{error or type(error).__name__}") from error
    finally:
        socket.setdefaulttimeout(timeout)


def read_cifar(content: bytes) -> dict[str, np.ndarray]:
    """Read the bytes of a verified cifar-10-python.tar.gz or cifar-100-python.tar.gz in memory."""
    train, test = [], []
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        for member in sorted(archive.getmembers(), key=lambda member: member.name):
            base_name = member.name.rsplit("/", 1)[-1]
            if base_name.startswith("data_batch") or base_name == "train":
                train.append(_unpickle_batch(archive.extractfile(member)))
            elif base_name in ("test_batch", "test"):
                test.append(_unpickle_batch(archive.extractfile(member)))
    return {
        "x_train": np.concatenate([images for images, _ in train]),
        "y_train": np.concatenate([labels for _, labels in train]),
        "x_test": np.concatenate([images for images, _ in test]),
        "y_test": np.concatenate([labels for _, labels in test]),
    }


def _unpickle_batch(file) -> tuple[np.ndarray, np.ndarray]:
    batch = _ArrayUnpickler(file, encoding="bytes").load()
    labels = batch[b"labels"] if b"labels" in batch else batch[b"fine_labels"]
    images = batch[b"data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), np.array(labels, np.int32)


class _ArrayUnpickler(pickle.Unpickler):
    """Knows how to rebuild a NumPy array, and nothing else that a pickle could ask for."""

    def find_class(self, module: str, name: str) -> Any:
        reconstruct = np.empty(0).__reduce__()[0]
        known = {
            ("numpy.core.multiarray", "_reconstruct"): reconstruct,
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
        }
        if (module, name) not in known:
            raise ValueError(f"pickle asks for {module}.{name}, which is refused")
        return known[module, name]


CIFAR10_CLASS_NAMES = tuple("airplane automobile bird cat deer dog frog horse ship truck".split())

# The fine labels, in the order of the archive's own `meta` file.
CIFAR100_CLASS_NAMES = tuple(
    """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle
    bowl boy bridge bus butterfly camel can castle caterpillar cattle
    chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur
    dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard
    lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain
    mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree
    plain plate poppy porcupine possum rabbit raccoon ray road rocket
    rose sea seal shark shrew skunk skyscraper snail snake spider
    squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor
    train trout tulip turtle wardrobe whale willow_tree wolf woman worm
    """.split()
)

OFFICIAL_DATASETS = {
    "cifar10": OfficialDataset(
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        CIFAR10_CLASS_NAMES,
        stand_in="synthetic",
    ),
    "cifar100": OfficialDataset(
        "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
        "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
        CIFAR100_CLASS_NAMES,
        stand_in="synthetic100",
    ),
    "mnist": OfficialDataset(
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
        "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
        tuple("0123456789"),
        stand_in="synthetic_mnist",
    ),
}
