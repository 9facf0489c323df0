"""PyTorch: one layer, time first, one thread per core."""

import os
from collections.abc import Callable
from typing import Any

import torch

from experiments.bench.config import SYMBOLS, Size
from experiments.bench.peers import data

LAYERS = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "elman": torch.nn.RNN}


def prepare(cell: str, mode: str, size: Size) -> tuple[Callable[[], Any], Callable]:
    """Returns the call to time, and a function that returns None."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    if mode == "sampler":
        return sampler(size), lambda: None
    layer = LAYERS[cell](size.inputs, size.hidden)
    xs = torch.from_numpy(data.inputs(size, time_major=True))
    xs.requires_grad_(mode == "gradient-inputs")

    def forward() -> None:
        with torch.no_grad():
            layer(xs)

    def gradient() -> None:
        layer.zero_grad()
        xs.grad = None
        ys, _ = layer(xs)
        (ys**2).sum().backward()

    return (forward if mode == "forward" else gradient), lambda: None


def sampler(size: Size) -> Callable[[], Any]:
    """Returns a call that generates symbols by greedy decoding."""
    embed = torch.nn.Embedding(SYMBOLS, size.inputs)
    layers = torch.nn.LSTM(size.inputs, size.hidden, num_layers=2)
    dense = torch.nn.Linear(size.hidden, SYMBOLS)

    def call() -> None:
        ids, state = torch.zeros(size.batch, dtype=torch.long), None
        with torch.no_grad():
            for _ in range(size.time):
                ys, state = layers(embed(ids)[None], state)
                ids = dense(ys[0]).argmax(-1)

    return call
