"""The models that a settings.json may name: a new model is one file and one row here."""

from __future__ import annotations

from models.resnet import resnet
from models.visual_tokens import visual_token_transformer
from vit_model import vision_transformer

# Each takes image_shape, number_of_classes, mean and std, and arguments of its own: numbers, words
# and lists of them, so that settings.json can hold them.
BUILDERS = {
    "vision_transformer": vision_transformer,
    "resnet": resnet,
    "visual_token_transformer": visual_token_transformer,
}
