"""What the encoder blocks of a finished model attend to, read without touching the training
path."""

from __future__ import annotations

from typing import Any

from backend.runtime import keras
from encoder_block import EncoderBlock


class AttentionReadout(keras.layers.Layer):
    """Give out the attention weights of a block of a finished model, sharing its variables."""

    def __init__(self, block: EncoderBlock, **kwargs):
        super().__init__(**kwargs)
        self.block = block

    def call(self, tokens):
        return self.block.attention_weights(tokens)

    def get_config(self) -> dict[str, Any]:
        return dict(super().get_config(), block=self.block.name)


def attention_model(model: keras.Model) -> keras.Model:
    """Return the model that gives the attention weights of every encoder block of a model.

    Its outputs, one per block, are (batch, heads, tokens, tokens). The variables are shared.
    """
    blocks = [layer for layer in model.layers if isinstance(layer, EncoderBlock)]
    if not blocks:
        raise ValueError(f"The model {model.name} has no encoder blocks to read.")
    maps = [
        AttentionReadout(block, name=f"{block.name}_attention")(block.input) for block in blocks
    ]
    return keras.Model(model.input, maps, name="attention")
