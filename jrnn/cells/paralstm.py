"""LSTM with diagonal recurrence, for parallel evaluation."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jrnn import checks, initializers
from jrnn.cells import activations
from jrnn.cells.affine import Gates, affine, split
from jrnn.cells.base import HiddenCell, zeros
from jrnn.forms import Plain
from jrnn.numerics import along
from jrnn.types import Array, DType, PRNGKey, Shape
from jrnn.values import exportable, value


@exportable
class ParaLSTMParams(NamedTuple):
    """Arrays of a ParaLSTM with F input features and H hidden units.

    Blocks are concatenated along the last axis, in the order f, z, o.
    """

    w_x: Array  # [F, 3H] input to blocks
    w_h: Array  # [3H] the output of each unit to its own blocks
    w_c: Array  # [2H] the cell state of each unit to its own f and o
    b_x: Array | None  # [3H]


@exportable
class ParaLSTMState(NamedTuple):
    """State of a ParaLSTM."""

    h: Array  # [..., H]
    c: Array  # [..., H]


@value
class ParaLSTM(HiddenCell):
    """LSTM with coupled gates and diagonal recurrent weights [1].

        f  = sigmoid(x Wf + bf + wf * h + pf * c)        forget gate
        z  = tanh(x Wz + bz + wz * h)                    candidate
        c' = f * c + (1 - f) * z
        o  = sigmoid(x Wo + bo + wo * h + po * c')       output gate
        h' = o * tanh(c')

    The Jacobian of the state has one block of two numbers per unit.

    Attributes:
      hidden_size: The number H of hidden units.
      bias: Whether there is a bias.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.ParaLSTM(hidden_size=4)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> state, ys = jrnn.scan(cell, params, None, jnp.ones((2, 5, 3)))
      >>> ys.shape
      (2, 5, 4)

    References:
      [1] Danieli et al., 2025, https://arxiv.org/abs/2510.21450
    """

    hidden_size: int
    bias: bool = True

    @property
    def form(self) -> Plain:
        return Plain(self._step, ("block", 2), self._gates)

    def init(
        self, key: PRNGKey, input_size: int, dtype: DType = float
    ) -> ParaLSTMParams:
        """Draws parameters for inputs [..., input_size].

        Recurrent weights are normal with standard deviation 2 / sqrt(5H). The biases of
        the forget gate run from 0 to 1, which gives units different memory lengths.
        """
        input_size = checks.integer("input_size", input_size, 1)
        key_x, key_h, key_c = checks.split_key(key, 3)
        size = self.hidden_size
        draw = initializers.glorot_uniform
        w_x = [draw(k, input_size, size, 1, dtype) for k in jax.random.split(key_x, 3)]
        scale = 2 / (5 * size) ** 0.5
        f = jnp.linspace(0.0, 1.0, size)
        b_x = jnp.concatenate([f, jnp.zeros(2 * size)]).astype(dtype)
        return ParaLSTMParams(
            w_x=jnp.concatenate(w_x, axis=-1),
            w_h=(scale * jax.random.normal(key_h, (3 * size,))).astype(dtype),
            w_c=(scale * jax.random.normal(key_c, (2 * size,))).astype(dtype),
            b_x=b_x if self.bias else None,
        )

    def initial_state(
        self, params: ParaLSTMParams, batch_shape: Shape = ()
    ) -> ParaLSTMState:
        """Returns zeros of shape [*batch_shape, H]."""
        shape = (*batch_shape, self.hidden_size)
        return ParaLSTMState(zeros(params.w_x, *shape), zeros(params.w_x, *shape))

    def project(
        self, params: ParaLSTMParams, x: Array, *, key: PRNGKey | None = None
    ) -> Gates:
        """Maps inputs [..., F] to their contributions to f, z and o, each [..., H]."""
        del key
        return split(affine(x, params.w_x, params.b_x), 3)

    def _step(
        self, params: ParaLSTMParams, state: ParaLSTMState, u: Gates
    ) -> ParaLSTMState:
        f, c, o = self._parts(params, state, u)
        return ParaLSTMState(h=o * jnp.tanh(c), c=c)

    def _gates(
        self, params: ParaLSTMParams, state: ParaLSTMState, u: Gates
    ) -> dict[str, Array]:
        f, _, o = self._parts(params, state, u)
        return {"f": f, "o": o}

    def _parts(
        self, params: ParaLSTMParams, state: ParaLSTMState, u: Gates
    ) -> tuple[Array, Array, Array]:
        """Returns the forget gate, the new cell state and the output gate."""
        w_h, w_c = along(params.w_h, state.h), along(params.w_c, state.h)
        (w_f, w_z, w_o), (p_f, p_o) = split(w_h, 3), split(w_c, 2)
        f = activations.sigmoid(u[0] + w_f * state.h + p_f * state.c)
        z = jnp.tanh(u[1] + w_z * state.h)
        c = f * state.c + (1 - f) * z
        return f, c, activations.sigmoid(u[2] + w_o * state.h + p_o * c)
