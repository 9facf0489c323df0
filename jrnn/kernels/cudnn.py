"""The LSTM of cuDNN, for NVIDIA GPUs: one call for a whole sequence.

It calls `jax.experimental.rnn`, restricted to the cases that it computes correctly.
"auto" never chooses it.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import sequential_vmap
from jax.experimental import rnn

from jrnn.cells import activations
from jrnn.cells.lstm import LSTM, LSTMParams, LSTMState
from jrnn.kernels.base import Inputs, Loop, Options, Trajectory, only_on
from jrnn.kernels.scan import Scan
from jrnn.masks import where
from jrnn.meshes import refusal_if_split
from jrnn.types import Array, Cell
from jrnn.values import value

_SIGMOID = (activations.sigmoid, jax.nn.sigmoid)
_TANH = (activations.tanh, jnp.tanh)


@value
class CuDNN:
    """Runs a `jrnn.LSTM` with the LSTM of cuDNN, on NVIDIA GPUs.

    Under `jax.vmap`, the calls run one after another; batch dimensions of `xs` need
    only one call. It does not support `jax.jvp`, second derivatives, or sharding over a
    mesh: use `Scan` for those. Tensor cores may round to TF32;
    `jax.default_matmul_precision("highest")` computes in float32.

    Example:
      >>> import jrnn
      >>> jrnn.kernels.named("cudnn")
      CuDNN()
    """

    def refusal(self, cell: Cell, inputs: Inputs, options: Options) -> str | None:
        """Returns why this kernel cannot run a cell; None if it can."""
        if found := unavailable() or refusal_if_split(inputs.xs):
            return found
        if type(cell) is not LSTM:  # a subclass may compute something else
            return f"computes only `jrnn.LSTM`, not {cell}"
        out = cell.output_activation or cell.activation
        if cell.gate not in _SIGMOID or {cell.activation, out} - set(_TANH):
            return f"has only gates of sigmoid and tanh, unlike {cell}"
        if inputs.xs.dtype != jnp.float32:
            return f"computes only in float32, and xs are {inputs.xs.dtype}"
        if inputs.restart is not None:
            return "cannot restart the state within a sequence, as `reset` asks"
        if not options.right_padded:
            return "takes padding only at the end: give `lengths` instead of `mask`"
        if options.states:
            return "does not return the states between steps, as `return_states` asks"
        return None

    def run(self, cell: Cell, loop: Loop, options: Options) -> Trajectory:
        """Runs an LSTM along time by one call."""
        params, state, _, inputs = loop
        time, *batch, size = inputs.xs.shape
        rows, units = math.prod(batch), cell.output_size
        if not time or not rows:
            return Scan().run(cell, loop, options)
        lengths = jnp.full(rows, time, jnp.int32)
        if inputs.keep is not None:
            keep = inputs.keep.reshape(time, rows)
            lengths = jnp.sum(keep, axis=0, dtype=jnp.int32)

        def ordered(a: Array) -> Array:
            if not options.reverse:
                return a
            return a[::-1] if inputs.keep is None else _reversed(a, lengths)

        xs = ordered(inputs.xs.reshape(time, rows, size))
        xs = only_on(("cuda",), "cudnn", "needs an NVIDIA GPU", xs)
        ys, h_n, c_n = _call(
            _how(size, units),
            jnp.moveaxis(xs, 0, 1),  # batch first
            *(leaf.reshape(1, rows, units) for leaf in state),
            weights(params),
            jnp.maximum(lengths, 1),  # the result of a row without steps is not used
        )
        final = LSTMState(h_n.reshape(state.h.shape), c_n.reshape(state.c.shape))
        if inputs.keep is not None:
            final = where(lengths.reshape(batch) > 0, final, state)
        ys = ordered(jnp.moveaxis(ys, 0, 1)).reshape(time, *batch, units)
        return Trajectory(final, None, ys if options.outputs else None)


def unavailable() -> str | None:
    """Returns why programs with cuDNN cannot be made here, or None if they can."""
    if hasattr(rnn.gpu_rnn, "compute_rnn_workspace_reserve_space_sizes"):
        return None
    return "needs the CUDA plugin of JAX, which is not installed"


def _how(features: int, units: int) -> tuple[Any, ...]:
    """Returns the static arguments of a call: one layer in one direction."""
    name = jax.config.jax_default_matmul_precision  # type: ignore[attr-defined]
    tf32 = name not in ("highest", "float32")
    precise = jax.lax.Precision.HIGH if tf32 else jax.lax.Precision.HIGHEST
    return features, units, 1, 0.0, False, (precise, precise)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _call(
    how: tuple[Any, ...], x: Array, h: Array, c: Array, w: Array, lengths: Array
) -> Any:
    return _forward(how, x, h, c, w, lengths)[0]


def _forward(how: tuple[Any, ...], *arrays: Array) -> Any:
    return sequential_vmap(lambda *arrays: rnn.lstm_fwd(*arrays, *how))(*arrays)


def _backward(how: tuple[Any, ...], residuals: Any, gradient: Any) -> Any:
    run = sequential_vmap(lambda *given: rnn.lstm_bwd(*how, *given)[:-1])
    return *run(residuals, gradient), None  # none for the lengths


_call.defvjp(_forward, _backward)


def weights(params: LSTMParams) -> Array:
    """Returns the parameters as cuDNN packs them: matrices, then both biases.

    Raises:
      ValueError: if they are not float32.
    """
    if params.w_x.dtype != jnp.float32 or params.w_h.dtype != jnp.float32:
        raise ValueError(
            "method='cudnn' computes only in float32, and params are "
            f"{params.w_x.dtype}. Use method='auto'."
        )
    zeros = jnp.zeros_like(params.w_h[0])
    biases = [zeros if b is None else b for b in (params.b_x, params.b_h)]
    parts = [params.w_x.T, params.w_h.T, *biases]
    return jnp.concatenate([part.reshape(-1) for part in parts])


def _reversed(a: Array, lengths: Array) -> Array:
    """Reverses the valid steps of each row of [T, B, ...]; padding stays."""
    steps = jnp.arange(len(a))[:, None]
    order = jnp.where(steps < lengths, lengths - 1 - steps, steps)
    return jnp.take_along_axis(a, order[..., None], axis=0)
