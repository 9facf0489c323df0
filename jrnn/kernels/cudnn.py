"""The LSTM of cuDNN, for NVIDIA GPUs: one call for a whole sequence.

It is `jax.experimental.rnn`, restricted to what that computes correctly. "auto" never
takes it.
"""

import math

import jax
import jax.numpy as jnp
from jax.experimental import rnn

from jrnn.cells import activations
from jrnn.cells.lstm import LSTM, LSTMParams, LSTMState
from jrnn.kernels.base import Inputs, Loop, Options, Trajectory
from jrnn.kernels.scan import Scan
from jrnn.masks import where
from jrnn.types import Array, Cell
from jrnn.values import value

_SIGMOID = (activations.sigmoid, jax.nn.sigmoid)
_TANH = (activations.tanh, jnp.tanh)


@value
class CuDNN:
    """Runs a `jrnn.LSTM` by the LSTM of cuDNN, on NVIDIA GPUs.

    It has no `jax.vmap`, `jax.jvp` or second derivative, and it does not split over a
    mesh: use `Scan` for those.
    """

    def refusal(self, cell: Cell, inputs: Inputs, options: Options) -> str | None:
        """Says why this kernel cannot run a cell; None where it can."""
        if unavailable() is not None:
            return unavailable()
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
        keep = jnp.ones((time, *batch), bool) if inputs.keep is None else inputs.keep
        keep = keep.reshape(time, rows)
        lengths = jnp.sum(keep, axis=0, dtype=jnp.int32)
        order = _order(lengths, time, options.reverse)[..., None]
        xs = jnp.take_along_axis(inputs.xs.reshape(time, rows, size), order, axis=0)
        h, c = (leaf.reshape(1, rows, units) for leaf in state)
        ys, h_n, c_n = rnn.lstm(
            jnp.moveaxis(xs, 0, 1),  # batch first
            h,
            c,
            weights(params),
            jnp.maximum(lengths, 1),  # the result of a row without steps is not used
            size,
            units,
            1,  # layer
            0.0,  # dropout
            False,  # one direction
        )
        ys = jnp.take_along_axis(jnp.moveaxis(ys, 0, 1), order, axis=0)
        ended = LSTMState(h_n.reshape(state.h.shape), c_n.reshape(state.c.shape))
        final = where(lengths.reshape(batch) > 0, ended, state)
        ys = ys.reshape(time, *batch, units)
        return Trajectory(final, None, ys if options.outputs else None)


def unavailable() -> str | None:
    """Returns why there is no cuDNN here, or None where there is."""
    backend = jax.default_backend()
    if backend != "gpu":
        return f"needs a GPU, and JAX runs on {backend}"
    if "rocm" in jax.devices()[0].client.platform_version.lower():
        return "needs an NVIDIA GPU: MIOpen orders the gates in another way"
    return None


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


def _order(lengths: Array, time: int, reverse: bool) -> Array:
    """Returns which step comes when, [T, B]: reversed within lengths, or as it is."""
    steps = jnp.arange(time)[:, None]
    if not reverse:
        return jnp.broadcast_to(steps, (time, lengths.shape[0]))
    return jnp.where(steps < lengths, lengths - 1 - steps, steps)
