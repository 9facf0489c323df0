"""Gated recurrent unit with diagonal recurrence, for parallel evaluation."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jrnn import checks, initializers
from jrnn.cells import activations
from jrnn.cells.affine import Gates, affine, split
from jrnn.cells.base import HiddenCell, zeros
from jrnn.forms import Plain
from jrnn.numerics import along
from jrnn.types import Activation, Array, DType, PRNGKey, Shape
from jrnn.values import exportable, value


@exportable
class ParaGRUParams(NamedTuple):
    """Arrays of a ParaGRU with F input features and H hidden units.

    The gates are concatenated along the last axis, in the order r, z, n.
    """

    w_x: Array  # [F, 3H] input to gates
    w_h: Array  # [3H] each unit to its own gates
    b_x: Array | None  # [3H] bias of the gates


@exportable
class ParaGRUState(NamedTuple):
    """State of a ParaGRU."""

    h: Array  # [..., H]


@value
class ParaGRU(HiddenCell):
    """GRU with diagonal recurrent weights [1]; the output is the new state.

        r  = gate(x Wxr + br + w_r * h)                  reset gate
        z  = gate(x Wxz + bz + w_z * h)                  update gate
        n  = activation(x Wxn + bn + w_n * (r * h))      candidate
        h' = (1 - z) * h + z * n

    As in the paper, z = 1 takes the candidate; in `GRU`, z = 1 keeps the state. The
    Jacobian of the state is diagonal: real-time recurrent learning is exact with one
    trace per parameter, and Newton's method solves all steps at once.

    Attributes:
      hidden_size: The number H of hidden units.
      gate: Activation of the gates.
      activation: Activation of the candidate.
      bias: Whether there is a bias.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.ParaGRU(hidden_size=4)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> state, ys = jrnn.scan(cell, params, None, jnp.ones((2, 5, 3)))
      >>> ys.shape  # [batch, time, hidden]
      (2, 5, 4)

    References:
      [1] Danieli et al., 2025, https://arxiv.org/abs/2510.21450
    """

    hidden_size: int
    gate: Activation = activations.sigmoid
    activation: Activation = activations.tanh
    bias: bool = True

    @property
    def form(self) -> Plain:
        return Plain(self._step, structure="diagonal", gates=self._gates)

    def init(
        self, key: PRNGKey, input_size: int, dtype: DType = float
    ) -> ParaGRUParams:
        """Draws parameters for inputs [..., input_size].

        Recurrent weights are normal with standard deviation 2 / sqrt(5H). The biases of
        the update gate run from 0 to -1, which gives units different memory lengths.
        """
        input_size = checks.integer("input_size", input_size, 1)
        key_x, key_h = checks.split_key(key)
        size = self.hidden_size
        w_x = [
            initializers.glorot_uniform(k, input_size, size, 1, dtype)
            for k in jax.random.split(key_x, 3)
        ]
        w_h = 2 / (5 * size) ** 0.5 * jax.random.normal(key_h, (3 * size,))
        z = -jnp.linspace(0.0, 1.0, size)
        b_x = jnp.concatenate([jnp.zeros(size), z, jnp.zeros(size)])
        return ParaGRUParams(
            w_x=jnp.concatenate(w_x, axis=-1),
            w_h=w_h.astype(dtype),
            b_x=b_x.astype(dtype) if self.bias else None,
        )

    def initial_state(
        self, params: ParaGRUParams, batch_shape: Shape = ()
    ) -> ParaGRUState:
        """Returns zeros of shape [*batch_shape, H]."""
        return ParaGRUState(h=zeros(params.w_h, *batch_shape, self.hidden_size))

    def project(
        self, params: ParaGRUParams, x: Array, *, key: PRNGKey | None = None
    ) -> Gates:
        """Maps inputs [..., F] to their contributions to r, z and n, each [..., H]."""
        del key
        return split(affine(x, params.w_x, params.b_x), 3)

    def _step(
        self, params: ParaGRUParams, state: ParaGRUState, u: Gates
    ) -> ParaGRUState:
        gates = self._gates(params, state, u)
        w_n = along(params.w_h[2 * self.hidden_size :], state.h)
        n = self.activation(u[2] + w_n * (gates["r"] * state.h))
        return ParaGRUState(h=state.h + gates["z"] * (n - state.h))

    def _gates(
        self, params: ParaGRUParams, state: ParaGRUState, u: Gates
    ) -> dict[str, Array]:
        w_r, w_z, _ = jnp.split(along(params.w_h, state.h), 3, axis=-1)
        return {
            "r": self.gate(u[0] + w_r * state.h),
            "z": self.gate(u[1] + w_z * state.h),
        }
