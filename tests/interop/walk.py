"""A cell whose noise and initial state can be read off its output."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jrnn.forms import Linear
from jrnn.types import Array, Cell
from jrnn.values import value


class WalkParams(NamedTuple):
    w: Array  # [F, H]
    start: Array  # [H] initial state; the column sums of w when it is drawn
    offset: Array | None = None  # [] noise for a whole scan, put there by `prepare`


class WalkState(NamedTuple):
    h: Array  # [..., H]


@value
class Walk(Cell):
    """`h' = h + x w + e`, with e one draw for each step, and `y = h' + e0`, with e0 one
    draw for the whole scan. The initial state is learned.
    """

    hidden_size: int
    feature_axes = 1

    @property
    def output_size(self):
        return self.hidden_size

    @property
    def form(self):
        return Linear(lambda params, u: (WalkState(jnp.ones_like(u)), WalkState(u)))

    def init(self, key, input_size, dtype=float):
        w = jax.random.normal(key, (input_size, self.hidden_size), dtype)
        return WalkParams(w, w.sum(0))

    def initial_state(self, params, batch_shape=()):
        shape = (*batch_shape, self.hidden_size)
        return WalkState(jnp.broadcast_to(params.start, shape))

    def prepare(self, params, *, key=None, batch_shape=()):
        del batch_shape
        return params._replace(offset=None if key is None else jax.random.normal(key))

    def project(self, params, x, *, key=None):
        u = x @ params.w
        return u if key is None else u + jax.random.normal(key)

    def read(self, params, state, u):
        return state.h if params.offset is None else state.h + params.offset
