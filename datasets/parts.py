"""The names that parts of a data set have, in any spelling: Train, training_set, seg_val."""

from __future__ import annotations

import collections
import re
from typing import Sequence

# Every name of a part -> the kind of part.
_KINDS = {
    name: kind
    for kind, names in {
        "train": "train training trn trains",
        "validation": "val valid validation validate validating dev devel development eval "
        "evaluation",
        "test": "test testing tst tests holdout",
        "unlabelled": "pred predict prediction unlabelled unlabeled submission",
        "images": "image images img imgs picture pictures pics photo photos jpegimages jpgs pngs",
        "masks": "mask masks segmentation segmentations segmentationclass",
        "labels": "label labels annotation annotations annots groundtruth gt bbox boxes",
        "fold": "fold folds part parts batch split splits chunk chunks shard shards subset subsets",
    }.items()
    for name in names.split()
}
# What is said beside the name of a part, and is glued to it at times: testset, trainimages.
_FILLERS = (
    "set sets data dataset folder files images imgs image img labels samples public private raw"
).split()
SPLITS = ("train", "validation", "test")


def words_of(name: str) -> list[str]:
    """Return the words of a name, in small letters: "seg_trainSet2" is seg, train, set."""
    spaced = re.sub(r"([a-z])([A-Z])|([A-Z])([A-Z][a-z])", r"\1\3 \2\4", name)
    return [word.lower() for word in re.split(r"[\W\d_]+", spaced) if word]


def part_of(name: str) -> str:
    """Return the kind of part that a name means, such as "train" or "masks", "" if it means none.

    "training_set" means one; "express_train" does not, for it says more.
    """
    kind, rest = _kind_and_rest(name)
    return "" if rest else kind


def parts_among(names: Sequence[str]) -> dict[str, str]:
    """Return name -> kind of the names that mean a part of a data set, beside one another.

    What says more than the part means one where others say the same more: seg_train and seg_test.
    """
    found = {name: _kind_and_rest(name) for name in names}
    kinds = collections.defaultdict(set)
    for kind, rest in found.values():
        kinds[rest].add(kind)
    counts = collections.Counter(rest for kind, rest in found.values() if kind == "fold")
    return {
        name: kind
        for name, (kind, rest) in found.items()
        if kind and (not rest or len(kinds[rest] - {""}) > 1 or counts[rest] > 1)
    }


def _kind_and_rest(name: str) -> tuple[str, str]:
    """Return the kind of part in a name, and what else the name says."""
    words = []
    for word in words_of(name):
        glued = [word[: -len(end)] for end in _FILLERS if word.endswith(end)]
        glued += [word[len(start) :] for start in _FILLERS if word.startswith(start)]
        words.append(next((part for part in glued if part in _KINDS), word))
    kinds = [_KINDS[word] for word in words if word in _KINDS]
    # "train_images" are training images, "images" alone are the images beside their masks.
    kind = next((kind for kind in kinds if kind in SPLITS), "")
    kind = kind or next((kind for kind in kinds if kind != "images"), "".join(kinds[:1]))
    rest = " ".join(word for word in words if word not in _KINDS and word not in _FILLERS)
    return kind, rest
