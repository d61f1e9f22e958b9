"""The default Vision Transformer in plain PyTorch, an optional dependency of the benchmark."""

from __future__ import annotations

from typing import Callable, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks import timing


class Attention(nn.Module):
    """Multi-head self-attention by PyTorch's fused kernel."""

    def __init__(self):
        super().__init__()
        self.query_key_value = nn.Linear(64, 192)
        self.projection = nn.Linear(64, 64)

    def forward(self, tokens):
        query_key_value = self.query_key_value(tokens).view(-1, 64, 3, 8, 8)
        query, key, value = query_key_value.permute(2, 0, 3, 1, 4).unbind(0)
        context = functional.scaled_dot_product_attention(query, key, value)
        return self.projection(context.transpose(1, 2).reshape(-1, 64, 64))


class Block(nn.Module):
    """One encoder block."""

    def __init__(self):
        super().__init__()
        self.attention_norm = nn.LayerNorm(64, eps=1e-6)
        self.attention = Attention()
        self.feed_forward_norm = nn.LayerNorm(64, eps=1e-6)
        self.feed_forward = nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 64))

    def forward(self, tokens):
        tokens = tokens + self.attention(self.attention_norm(tokens))
        return tokens + self.feed_forward(self.feed_forward_norm(tokens))


class PyTorchTwin(nn.Module):
    """Pixels uint8 (batch, 32, 32, 3) -> logits (batch, 10)."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]):
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))
        self.patch_projection = nn.Linear(48, 64)
        self.positions = nn.Parameter(torch.zeros(1, 64, 64))
        self.blocks = nn.Sequential(*[Block() for _ in range(8)])
        self.final_norm = nn.LayerNorm(64, eps=1e-6)
        self.head = nn.Sequential(
            nn.Linear(4096, 512), nn.GELU(), nn.Linear(512, 256), nn.GELU(), nn.Linear(256, 10)
        )

    def forward(self, pixels):
        images = (pixels.float() - self.mean) / self.std
        patches = images.view(-1, 8, 4, 8, 4, 3).permute(0, 1, 3, 2, 4, 5).reshape(-1, 64, 48)
        tokens = self.blocks(self.patch_projection(patches) + self.positions)
        return self.head(self.final_norm(tokens).flatten(1))


def take_weights(twin: PyTorchTwin, named_weights: Sequence[tuple[str, np.ndarray]]) -> None:
    """Give the twin the weights of our model; PyTorch keeps the kernels transposed."""
    with torch.no_grad():
        for parameter, value in zip(_in_our_order(twin), (value for _, value in named_weights)):
            value = value.T if value.ndim == 2 else value
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(value)))


def _in_our_order(twin: PyTorchTwin):
    yield from twin.patch_projection.parameters()
    yield twin.positions
    for part in (twin.blocks, twin.final_norm, twin.head):
        yield from part.parameters()


def contender(
    images: np.ndarray,
    labels: np.ndarray,
    mean: Sequence[float],
    std: Sequence[float],
    named_weights: Sequence[tuple[str, np.ndarray]],
    compiled: bool = False,
) -> dict[str, Callable]:
    """Return what can be called, as keras_twin.contender does."""
    twin = PyTorchTwin(mean, std)
    take_weights(twin, named_weights)
    network = torch.compile(twin) if compiled else twin
    optimizer = torch.optim.Adam(twin.parameters(), lr=1e-3, fused=True)
    pixels, classes = torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64))
    matrix = torch.from_numpy(timing.square_matrix())

    def training():
        network.train()
        optimizer.zero_grad()
        loss = functional.cross_entropy(network(pixels), classes)
        loss.backward()
        optimizer.step()
        return loss.item()

    def inference():
        network.eval()
        with torch.inference_mode():
            return network(pixels).numpy()

    return {
        "runtime": lambda: "PyTorch " + torch.__version__,
        "parameters": lambda: sum(p.numel() for p in twin.parameters()),
        "training": training,
        "inference": inference,
        "product": lambda: float((matrix @ matrix).sum()),
    }


def compiled_contender(*arguments) -> dict[str, Callable]:
    """Return the contender with torch.compile."""
    return contender(*arguments, compiled=True)
