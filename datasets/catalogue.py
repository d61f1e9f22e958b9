"""The data sets that a script can name, one row each.

Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images"; LeCun et al. 1998,
"Gradient-Based Learning Applied to Document Recognition"; the synthetic ones are drawn here.
"""

from __future__ import annotations

from functools import partial
from typing import Callable, NamedTuple

from datasets.official import read_cifar, read_npz_bytes
from datasets.synthetic import COLOUR_AND_SHAPE_NAMES, SHAPE_NAMES, draw_dataset


class NamedDataset(NamedTuple):
    """One data set: what it holds, and where its arrays x_train, y_train, x_test, y_test are from.

    image_shape is (height, width, channels), class_names are in the order of the labels.
    An official one has the url and the sha256 of a file, a reader, from the file's bytes to the
    arrays, and may name a synthetic one that stands in without internet. A synthetic one has draw,
    from a seed and the image_shape to the arrays.
    """

    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    url: str = ""
    sha256: str = ""
    reader: Callable | None = None
    stand_in: str = ""
    draw: Callable | None = None


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

NAMED_DATASETS = {
    "cifar10": NamedDataset(
        image_shape=(32, 32, 3),
        class_names=tuple("airplane automobile bird cat deer dog frog horse ship truck".split()),
        url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        reader=read_cifar,
        stand_in="synthetic",
    ),
    "cifar100": NamedDataset(
        image_shape=(32, 32, 3),
        class_names=CIFAR100_CLASS_NAMES,
        url="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
        sha256="85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
        reader=read_cifar,
        stand_in="synthetic100",
    ),
    "mnist": NamedDataset(
        image_shape=(28, 28, 1),
        class_names=tuple("0123456789"),
        url="https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
        sha256="731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
        reader=read_npz_bytes,
        stand_in="synthetic_mnist",
    ),
    "synthetic": NamedDataset((32, 32, 3), SHAPE_NAMES, draw=draw_dataset),
    "synthetic100": NamedDataset(
        (32, 32, 3), COLOUR_AND_SHAPE_NAMES, draw=partial(draw_dataset, label_colours=True)
    ),
    "synthetic_mnist": NamedDataset((28, 28, 1), SHAPE_NAMES, draw=draw_dataset),
}
