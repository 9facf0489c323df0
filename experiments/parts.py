"""Times the parts of the gradient of an LSTM in XLA and in PyTorch."""

import dataclasses
import functools
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jrnn
from experiments.bench.config import Size, size_of
from experiments.command_line import parse
from experiments.errors import UserError, refuse
from experiments.layouts import spread, turns
from experiments.run import devices
from experiments.run.options import out_of_range

_ABOUT = """Times the parts of the gradient of an LSTM in XLA and in PyTorch.

A part is what both have to compute, at the shapes of a size: one matmul for all inputs,
a matmul per step, the elementwise update, the gradient of weights. The time is that of
the processor, summed over threads. To compare single threads, pin the process:
`taskset -c 0 python -m experiments parts`."""
Part = tuple[Callable[..., Any], Callable[..., Any], list[np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Parts:
    """Options of the command."""

    size: str = "A"
    """A letter of the benchmark's sizes, or time,batch,inputs,hidden."""

    rounds: int = 7
    """Number of turns of each part."""

    calls: int = 3
    """Calls per turn. The fastest one counts."""


def main(prog: str, arguments: list[str]) -> int:
    """Prints the table."""
    config = parse(Parts, prog, arguments, description=_ABOUT)
    refuse(out_of_range(config, {"rounds": 1, "calls": 1}))
    size = size_of(config.size, "size")
    try:
        import torch  # noqa: PLC0415  optional
    except ImportError as error:
        raise UserError("The comparison needs PyTorch: pip install torch.") from error
    torch.set_num_threads(devices.cores())
    runs: dict[str, Callable[[], Any]] = {}
    compared = parts(size, torch)
    for name, (ours, theirs, arrays) in compared.items():
        runs[f"XLA {name}"] = _compiled(ours, arrays)
        runs[f"torch {name}"] = _called(theirs, [torch.from_numpy(a) for a in arrays])
    found = turns(runs, config.rounds, config.calls, time.process_time)
    print(f"Size {', '.join(map(str, size))} (time, batch, inputs, units).\n")
    print("| part | XLA, ms | PyTorch, ms | ratio |\n| --- | --: | --: | --: |")
    for name in compared:
        pair = found[f"XLA {name}"], found[f"torch {name}"]
        ratios = [a / b for a, b in zip(*pair, strict=True)]
        times = " | ".join(f"{1e3 * statistics.median(s):.2f}" for s in pair)
        print(f"| {name} | {times} | {spread(ratios)} |", flush=True)
    return 0


def parts(size: Size, torch: Any) -> dict[str, Part]:
    """Returns what each part runs in JAX and in torch, with its arrays."""
    rng = np.random.default_rng(0)
    rows, gates = size.time * size.batch, 4 * size.hidden

    def draw(*shape: int) -> np.ndarray:
        return 0.1 * rng.standard_normal(shape).astype(np.float32)

    xs, states = draw(rows, size.inputs), draw(rows, size.hidden)
    pre, w = draw(rows, gates), draw(size.hidden, gates)
    h, dp = draw(size.batch, size.hidden), draw(size.batch, gates)
    update, derivative = torch_update(torch)
    return {
        "inputs: one matmul": (_matmul, _matmul, [xs, draw(size.inputs, gates)]),
        "states: a matmul per step": (
            functools.partial(_steps, size.time),
            functools.partial(torch_steps, torch, size.time),
            [h, w],
        ),
        "their transposes": (
            lambda dp, w: _steps(size.time, dp, w.T),
            lambda dp, w: torch_steps(torch, size.time, dp, w.T),
            [dp, w],
        ),
        "gradient of recurrent weights": (_transposed, _transposed, [states, pre]),
        "gradient of input weights": (_transposed, _transposed, [xs, pre]),
        "update, all steps at once": (_update, update, [pre, states]),
        "update with its derivative": (
            _derivative,
            derivative,
            [pre, states, draw(*states.shape), draw(*states.shape)],
        ),
        **whole(size, torch, draw(size.batch, size.time, size.inputs)),
    }


def _matmul(a: Any, b: Any) -> Any:
    return a @ b


def _transposed(a: Any, b: Any) -> Any:
    return a.T @ b


def _steps(time: int, a: jax.Array, w: jax.Array) -> jax.Array:
    """Multiplies in a loop, where every step waits for the one before."""
    wide = -(-a.shape[1] // w.shape[1])

    def body(a: jax.Array, _: None) -> tuple[jax.Array, None]:
        return jnp.tile(a @ w, wide)[:, : a.shape[1]], None

    return jax.lax.scan(body, a, None, length=time)[0]


def torch_steps(torch: Any, time: int, a: Any, w: Any) -> Any:
    """Multiplies the same operands again and again, without the loop's copies."""
    out = torch.empty(a.shape[0], w.shape[1])
    for _ in range(time):
        torch.mm(a, w, out=out)
    return out


def _update(p: jax.Array, c: jax.Array) -> tuple[jax.Array, jax.Array]:
    i, f, g, o = jnp.split(p, 4, axis=-1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return c, jax.nn.sigmoid(o) * jnp.tanh(c)


def _derivative(p: jax.Array, c: jax.Array, *cotangents: jax.Array) -> Any:
    return jax.vjp(_update, p, c)[1](cotangents)


def torch_update(torch: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Returns the update of an LSTM in torch, and the one with its derivative."""

    def update(p: Any, c: Any) -> Any:
        i, f, g, o = p.chunk(4, dim=-1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return c, o.sigmoid() * c.tanh()

    def derivative(p: Any, c: Any, *cotangents: Any) -> Any:
        at = p.requires_grad_(), c.requires_grad_()
        return torch.autograd.grad(update(*at), at, cotangents)

    return update, derivative


def whole(size: Size, torch: Any, xs: np.ndarray) -> dict[str, Part]:
    """Returns the gradients of the parameters; torch has two implementations."""
    cell, layer = jrnn.LSTM(size.hidden), torch.nn.LSTM(size.inputs, size.hidden)
    params = cell.init(jax.random.key(0), size.inputs)

    def gradient(xs: jax.Array) -> Any:
        def loss(params: Any) -> jax.Array:
            return jnp.sum(jrnn.scan(cell, params, None, xs)[1] ** 2)

        return jax.grad(loss)(params)

    def torch_gradient(xs: Any) -> None:
        layer.zero_grad()
        (layer(xs.transpose(0, 1))[0] ** 2).sum().backward()

    def torch_loop(xs: Any) -> None:
        with warnings.catch_warnings():  # it warns of GPUs
            warnings.simplefilter("ignore")
            with torch.backends.mkldnn.flags(enabled=False):
                torch_gradient(xs)

    return {
        "whole gradient": (gradient, torch_gradient, [xs]),
        "whole gradient, torch without oneDNN": (gradient, torch_loop, [xs]),
    }


def _compiled(function: Callable[..., Any], arrays: list[np.ndarray]) -> Any:
    given = [jnp.asarray(a) for a in arrays]
    compiled = jax.jit(function).lower(*given).compile()
    return lambda: jax.block_until_ready(compiled(*given))


def _called(function: Callable[..., Any], tensors: list[Any]) -> Any:
    return lambda: function(*tensors)
