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
    return prepare_on("cpu", cell, mode, size, "float32", exact=False)


def prepare_on(
    device: str, cell: str, mode: str, size: Size, dtype: str, exact: bool
) -> tuple[Callable[[], Any], Callable]:
    """Returns the call to time on a device, and a function for its peak memory.

    Args:
      device: cpu or gpu.
      cell: lstm, gru or elman.
      mode: forward, gradient or gradient-inputs.
      size: The sizes.
      dtype: float32 or bfloat16.
      exact: Whether no matmul of float32 may round to TF32.

    Raises:
      ValueError: if torch does not see the device.
    """
    on_gpu = device == "gpu"
    if device != "cpu" and not (on_gpu and torch.cuda.is_available()):
        raise ValueError(f"torch does not see a {device}")
    torch.backends.cuda.matmul.allow_tf32 = not exact
    torch.backends.cudnn.allow_tf32 = not exact
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    how: Any = {"device": "cuda" if on_gpu else "cpu", "dtype": getattr(torch, dtype)}
    layer = LAYERS[cell](size.inputs, size.hidden, **how)
    xs = torch.from_numpy(data.inputs(size, time_major=True)).to(**how)
    xs.requires_grad_(mode == "gradient-inputs")

    def wait() -> None:
        if on_gpu:
            torch.cuda.synchronize()

    def forward() -> None:
        with torch.no_grad():
            layer(xs)
        wait()

    def gradient() -> None:
        layer.zero_grad()
        xs.grad = None
        ys, _ = layer(xs)
        (ys.float() ** 2).sum().backward()
        wait()

    def peak() -> int | None:
        return torch.cuda.max_memory_allocated() if on_gpu else None

    return (forward if mode == "forward" else gradient), peak


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
