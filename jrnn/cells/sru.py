"""Simple recurrent unit."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn import checks
from jrnn.cells import activations
from jrnn.cells.affine import affine, split
from jrnn.cells.base import VectorCell, zeros
from jrnn.forms import Form, Linear, Plain
from jrnn.numerics import along
from jrnn.types import Activation, Array, DType, PRNGKey, Shape
from jrnn.values import exportable, value


@exportable
class SRUParams(NamedTuple):
    """Arrays of an SRU with F input features and H hidden units."""

    w_x: Array  # [F, 3H] input to candidate, forget gate, reset gate; [F, 4H] if F != H
    b_x: Array  # [2H] biases of the gates
    v: Array | None  # [2H] each unit to its own gates, with peepholes


@exportable
class SRUState(NamedTuple):
    """State of an SRU."""

    c: Array  # [..., H]
    r: Array | None  # [..., H] reset gate of the last step, with peepholes


class SRUInput(NamedTuple):
    """A projected input: its contributions to the blocks, and the skip connection."""

    c: Array  # [..., H]
    f: Array
    r: Array
    skip: Array


@value
class SRU(VectorCell):
    """Simple recurrent unit, in both published versions [1].

        f  = sigmoid(x Wf + bf + vf * c)                 forget gate
        r  = sigmoid(x Wr + br + vr * c)                 reset gate, of the highway
        c' = f * c + (1 - f) * (x Wc)
        y  = r * activation(c') + (1 - r) * skip(x)

    where skip(x) is x, or x Ws if x has another size. The first version has no vf and
    vr and is linear in its state, so all steps can be computed at once. The second
    version has them (`peepholes=True`), and its steps are elementwise.

    Attributes:
      hidden_size: The number H of hidden units.
      activation: Activation of the output.
      peepholes: Whether the gates read the state.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.SRU(hidden_size=4)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> state, ys = jrnn.scan(cell, params, None, jnp.ones((2, 5, 3)))
      >>> ys.shape
      (2, 5, 4)

    References:
      [1] Lei et al., 2018, https://arxiv.org/abs/1709.02755
    """

    hidden_size: int
    activation: Activation = activations.identity
    peepholes: bool = False

    @property
    def output_size(self) -> int:
        return self.hidden_size

    @property
    def form(self) -> Form:
        if self.peepholes:
            return Plain(self._step, ("block", 2), self._gates)
        return Linear(self._coefficients, gates=self._gates)

    def init(self, key: PRNGKey, input_size: int, dtype: DType = float) -> SRUParams:
        """Draws uniform weights of variance 1/F, and zero biases, as in the paper."""
        input_size = checks.integer("input_size", input_size, 1)
        checks.dtype("dtype", dtype)
        key_x, key_v = checks.split_key(key)
        size = self.hidden_size
        blocks = 3 if input_size == size else 4
        bound = (3 / input_size) ** 0.5
        w_x = jax.random.uniform(
            key_x, (input_size, blocks * size), minval=-bound, maxval=bound
        )
        v = jax.random.uniform(key_v, (2 * size,), minval=-1.0, maxval=1.0)
        return SRUParams(
            w_x=w_x.astype(dtype),
            b_x=jnp.zeros(2 * size, dtype),
            v=v.astype(dtype) if self.peepholes else None,
        )

    def initial_state(self, params: SRUParams, batch_shape: Shape = ()) -> SRUState:
        """Returns zeros of shape [*batch_shape, H]."""
        shape = (*batch_shape, self.hidden_size)
        r = zeros(params.w_x, *shape) if self.peepholes else None
        return SRUState(zeros(params.w_x, *shape), r)

    def project(
        self, params: SRUParams, x: Array, *, key: PRNGKey | None = None
    ) -> SRUInput:
        """Maps inputs [..., F] to their contributions, each [..., H]."""
        del key
        blocks = params.w_x.shape[1] // self.hidden_size
        c, f, r, *skip = split(affine(x, params.w_x), blocks)
        b_f, b_r = split(along(params.b_x, x), 2)
        return SRUInput(c, f + b_f, r + b_r, skip[0] if skip else x)

    def read(self, params: SRUParams, state: SRUState, u: SRUInput) -> Array:
        """Returns the output of the highway."""
        del params
        r = activations.sigmoid(u.r) if state.r is None else state.r
        return r * self.activation(state.c) + (1 - r) * u.skip

    def _gates(
        self, params: SRUParams, state: SRUState, u: SRUInput
    ) -> dict[str, Array]:
        f, r = u.f, u.r
        if params.v is not None:
            v_f, v_r = split(along(params.v, state.c), 2)
            f, r = f + v_f * state.c, r + v_r * state.c
        return {"f": activations.sigmoid(f), "r": activations.sigmoid(r)}

    def _coefficients(self, params: SRUParams, u: SRUInput) -> tuple[Any, Any]:
        del params
        f = activations.sigmoid(u.f)
        return SRUState(f, None), SRUState((1 - f) * u.c, None)

    def _step(self, params: SRUParams, state: SRUState, u: SRUInput) -> SRUState:
        f, r = self._gates(params, state, u).values()
        return SRUState(f * state.c + (1 - f) * u.c, r)
