"""Sizes and situations of the tests of kernels, and cells of unusual shapes."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import rnn

import jrnn
from jrnn import forms
from jrnn.kernels import Gated, Layout, cudnn
from jrnn.values import value
from tests.cases import B, F, randomise, shapes

CHUNK = 4
LONG = 2 * CHUNK + 3  # two chunks and a rest
SHORT = Gated(Layout(CHUNK))

rng = np.random.default_rng(0)
LENGTHS = jnp.array([LONG - 5, 0], jnp.int32)
MASK = jnp.asarray(rng.random((B, LONG)) < 0.8)
RESET = jnp.asarray(rng.random((B, LONG)) < 0.1)
SITUATIONS = {
    "all states, mask": ({"return_states": True}, {"mask": MASK}),
    "reset, unroll": ({"unroll": 2}, {"mask": MASK, "reset": RESET}),
    "reverse, lengths, reset": (
        {"reverse": True, "return_states": True},
        {"lengths": LENGTHS, "mask": MASK, "reset": RESET},
    ),
    "last only, lengths": ({"return_sequence": False}, {"lengths": LENGTHS}),
    "reverse, lengths, remat": (
        {"reverse": True, "remat": "sqrt"},
        {"lengths": LENGTHS},
    ),
}


def long_setting(cell, batch=(B,), dtype=jnp.float64, features=(F,)):
    size = features if len(features) > 1 else features[0]
    params = randomise(shapes(cell, size), 1, dtype)
    state = randomise(cell.initial_state(params, batch), 2, dtype)
    return params, state, randomise(np.zeros((*batch, LONG, *features)), 3, dtype)


@value
class BlockDiagonal(jrnn.cells.HiddenCell):
    """An Elman network of two heads, and weights of each on its own units only."""

    hidden_size: int

    @property
    def form(self):
        return forms.Gated(
            hidden=lambda state: state.h,
            recurrent=lambda params: forms.BlockDiagonal(params.w_h),
            update=lambda params, state, p: jrnn.cells.ElmanState(jnp.tanh(p)),
        )

    def init(self, key, input_size, dtype=float):
        params = jrnn.Elman(self.hidden_size).init(key, input_size, dtype)
        half = self.hidden_size // 2
        blocks = params.w_h[:half, :half], params.w_h[half:, half:]
        return params._replace(w_h=jnp.stack(blocks))

    def initial_state(self, params, batch_shape=()):
        return jrnn.Elman(self.hidden_size).initial_state(params, batch_shape)

    def project(self, params, x, *, key=None):
        return x @ params.w_x + params.b_x


@value
class Around(jrnn.cells.Wrapper):
    """Changes the state after each step, as a wrapper must not."""

    cell: jrnn.Cell
    change: Any

    @property
    def form(self):
        return self.cell.form.wrap(
            lambda params, u, state, advance: jax.tree.map(
                self.change, state, advance(state)
            )
        )


@value
class Mixed(jrnn.cells.Wrapper):
    """Has one entry per example in u and in p, and reads one of them."""

    cell: jrnn.Cell

    @property
    def form(self):
        inner = self.cell.form

        def update(params, state, p):
            shift = jnp.stack(p[1:], axis=-1).sum(-1, keepdims=True)
            return inner.update(params, state, (p[0] + shift,))

        combine = lambda params, u, v: (u[0] + v, u[1], u[2])
        return inner._replace(update=update, combine=combine, inputs=None)

    def project(self, params, x, *, key=None):
        (u,) = self.cell.project(params, x, key=key)
        return u, jnp.sum(x, -1), jnp.mean(x, -1)

    def read(self, params, state, u):
        return state.h * u[-1][..., None]


@value
class Scalars(jrnn.cells.Wrapper):
    """Has nothing but one entry per example in u and in p."""

    cell: jrnn.Cell

    @property
    def form(self):
        def update(params, state, p):
            factor = jnp.tanh(p[0] * p[1])[..., None]
            return jax.tree.map(lambda h: factor * h + 1, state)

        combine = lambda params, u, v: (u[0] + v[..., 0], u[1] - v[..., 1])
        inner = self.cell.form
        return inner._replace(update=update, combine=combine, inputs=None)

    def project(self, params, x, *, key=None):
        return jnp.sum(x, -1), jnp.mean(x, -1)


class Counted(NamedTuple):
    h: jax.Array
    steps: jax.Array  # integers


@value
class Counting(jrnn.cells.HiddenCell):
    """An Elman network that counts its steps."""

    hidden_size: int

    @property
    def form(self):
        return forms.Gated(
            hidden=lambda state: state.h,
            recurrent=lambda params: forms.Matmul(params.w_h),
            update=lambda params, s, p: Counted(jnp.tanh(p), s.steps + 1),
        )

    def init(self, key, input_size, dtype=float):
        return jrnn.Elman(self.hidden_size).init(key, input_size, dtype)

    def initial_state(self, params, batch_shape=()):
        h = jrnn.Elman(self.hidden_size).initial_state(params, batch_shape).h
        return Counted(h, jnp.zeros(batch_shape, jnp.int32))

    def project(self, params, x, *, key=None):
        return x @ params.w_x + params.b_x


def replace_cudnn(monkeypatch):
    """Puts the reference of JAX's own tests where cuDNN would be called."""

    def reference(x, h, c, weights, lengths, *how):
        assert lengths.dtype == jnp.int32 and x.dtype == jnp.float32
        layers, dropout, bidirectional, precision = how[2:]
        assert precision in [(high, high) for high in jax.lax.Precision]
        unpacked = rnn.unpack_lstm_weights(weights, *how[:2], layers, bidirectional)
        return rnn.lstm_ref(x, h, c, *unpacked, lengths, *how[:-1])

    def forward(x, h, c, weights, lengths, *how):
        residuals = x, h, c, weights, lengths
        return reference(*residuals, *how), residuals

    def backward(*given):
        *how, (*arrays, lengths), gradient = given
        run = lambda *arrays: reference(*arrays, lengths, *how)
        return *jax.vjp(run, *arrays)[1](gradient), None

    monkeypatch.setattr(cudnn.rnn, "lstm_fwd", forward)
    monkeypatch.setattr(cudnn.rnn, "lstm_bwd", backward)
    monkeypatch.setattr(cudnn, "unavailable", lambda: None)
    monkeypatch.setattr(cudnn, "only_on", lambda *given: given[-1])
