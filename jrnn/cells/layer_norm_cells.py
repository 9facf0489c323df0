"""Cells with layer normalization in their equations."""

from typing import NamedTuple

import jax.numpy as jnp

from jrnn import checks
from jrnn.cells import activations
from jrnn.cells.affine import Gates, affine, split
from jrnn.cells.base import HiddenCell, draw, zeros
from jrnn.cells.gru import GRU_REMEMBERS, GRUState
from jrnn.cells.lstm import LSTM_REMEMBERS, LSTMState
from jrnn.forms import Gated, Matmul
from jrnn.numerics import along, normalize
from jrnn.types import Activation, Array, DType, GateBias, PRNGKey, Shape
from jrnn.values import exportable, init_only, value


@exportable
class LayerNormLSTMParams(NamedTuple):
    """Arrays of a layer-normalized LSTM with F input features and H hidden units.

    The gates are concatenated along the last axis, in the order i, f, g, o.
    """

    w_x: Array  # [F, 4H] input to gates
    w_h: Array  # [H, 4H] state to gates
    b: Array | None  # [4H] bias of the gates
    scale_x: Array  # [4H] of the input's matmul
    scale_h: Array  # [4H] of the state's matmul
    scale_c: Array  # [H] of the memory where it is read
    shift_c: Array  # [H]


@value
class LayerNormLSTM(HiddenCell):
    """LSTM with layer normalization of both matmuls and of the output memory [1].

        pre = LN(x Wx) * scale_x + LN(h Wh) * scale_h + b      gates i, f, g, o
        c'  = gate(f) * c + gate(i) * activation(g)
        s   = LN(c') * scale_c + shift_c
        h'  = gate(o) * activation(s)

    with LN(a) = (a - mean(a)) / sqrt(var(a) + epsilon), over all gates together. Two
    forms are published, whose weights are not interchangeable. They differ in the
    memory that is carried to the next step:

        carry="raw"          c', as Ba et al. [1] and haste [2]
        carry="normalized"   s, as the LSTM of PyTorch's custom_lstms.py [3]

    The state is an `LSTMState`.

    Attributes:
      hidden_size: The number H of hidden units.
      gate: Activation of the gates.
      activation: Activation of the candidate, and of the memory in the output.
      carry: Which memory is carried, "raw" or "normalized".
      bias: Whether there is a bias.
      epsilon: Keeps the square root away from zero. It must be positive.
      forget_bias: Initial bias of the forget gate, as in `LSTM`.
      scheme: How parameters are initialized, as in `LSTM`; scales are one and shifts
        zero.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.LayerNormLSTM(hidden_size=4)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> _, ys = jrnn.scan(cell, params, None, jnp.ones((2, 5, 3)))
      >>> ys.shape
      (2, 5, 4)

    References:
      [1] Ba et al., 2016, https://arxiv.org/abs/1607.06450
      [2] LMNT, 2020, https://github.com/lmnt-com/haste
      [3] PyTorch, 2019, https://github.com/pytorch/pytorch/tree/main/benchmarks/fastrnns
    """

    hidden_size: int
    gate: Activation = activations.sigmoid
    activation: Activation = activations.tanh
    carry: str = "raw"
    bias: bool = True
    epsilon: float = 1e-5
    forget_bias: float | GateBias | None = init_only(None)
    scheme: str = init_only("jrnn")

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.positive("epsilon", self.epsilon)
        checks.one_of("carry", self.carry, ["raw", "normalized"])

    @property
    def form(self) -> Gated:
        return Gated(
            hidden=lambda state: state.h,
            recurrent=lambda params: Matmul(params.w_h),
            combine=lambda params, u, v: (u, v),  # cheap; `_update` is hoisted
            update=self._update,
            gates=self._gates,
            local=False,
        )

    def init(
        self, key: PRNGKey, input_size: int, dtype: DType = float
    ) -> LayerNormLSTMParams:
        """Draws parameters for inputs [..., input_size]."""
        size = self.hidden_size
        w_x, w_h, b, _ = draw(self, key, "lstm", input_size, 4, dtype, LSTM_REMEMBERS)
        ones, shift = jnp.ones((2, 4 * size), dtype), jnp.zeros(size, dtype)
        scale_c = jnp.ones(size, dtype)
        return LayerNormLSTMParams(w_x, w_h, b, ones[0], ones[1], scale_c, shift)

    def initial_state(
        self, params: LayerNormLSTMParams, batch_shape: Shape = ()
    ) -> LSTMState:
        """Returns zeros of shape [*batch_shape, H]."""
        shape = (*batch_shape, self.hidden_size)
        return LSTMState(h=zeros(params.w_h, *shape), c=zeros(params.w_h, *shape))

    def project(
        self, params: LayerNormLSTMParams, x: Array, *, key: PRNGKey | None = None
    ) -> Array:
        """Maps inputs [..., F] to their normalized matmul plus the bias, [..., 4H]."""
        del key
        u = normalize(affine(x, params.w_x), self.epsilon) * along(params.scale_x, x)
        return u if params.b is None else u + along(params.b, u)

    def _pre(self, params: LayerNormLSTMParams, p: tuple[Array, Array]) -> Gates:
        u, v = p
        scale = along(params.scale_h, v)
        return split(u + scale * normalize(v, self.epsilon), 4)

    def _update(
        self, params: LayerNormLSTMParams, state: LSTMState, p: tuple[Array, Array]
    ) -> LSTMState:
        i, f, g, o = self._pre(params, p)
        c = self.gate(f) * state.c + self.gate(i) * self.activation(g)
        scale, shift = along(params.scale_c, c), along(params.shift_c, c)
        seen = scale * normalize(c, self.epsilon) + shift
        h = self.gate(o) * self.activation(seen)
        return LSTMState(h=h, c=c if self.carry == "raw" else seen)

    def _gates(
        self, params: LayerNormLSTMParams, state: LSTMState, p: tuple[Array, Array]
    ) -> dict[str, Array]:
        del state
        i, f, _, o = self._pre(params, p)
        return {"i": self.gate(i), "f": self.gate(f), "o": self.gate(o)}


@exportable
class LayerNormGRUParams(NamedTuple):
    """Arrays of a layer-normalized GRU with F input features and H hidden units.

    The gates are concatenated along the last axis, in the order r, z, n.
    """

    w_x: Array  # [F, 3H] input to gates
    w_h: Array  # [H, 3H] state to gates
    b_x: Array | None  # [3H] bias of the gates
    b_h: Array | None  # [H] bias under the reset gate
    scale_x: Array  # [3H] of the input's matmul
    scale_h: Array  # [3H] of the state's matmul


@value
class LayerNormGRU(HiddenCell):
    """GRU with layer normalization of both matmuls, as published by Ba et al. [1].

        u  = LN(x Wx) * scale_x + b
        v  = LN(h Wh) * scale_h
        r  = gate(ur + vr)
        z  = gate(uz + vz)
        n  = activation(un + r * (vn + b_h))
        h' = (1 - z) * n + z * h

    with LN(a) = (a - mean(a)) / sqrt(var(a) + epsilon), over the gates r and z together
    and over the candidate n alone. The other published form normalizes all three
    together: that is `LayerNormed(GRU)`. The state is a `GRUState`.

    Attributes:
      hidden_size: The number H of hidden units.
      gate: Activation of the gates.
      activation: Activation of the candidate.
      bias: Whether there is one bias for each gate, and `b_h` [H].
      epsilon: Keeps the square root away from zero. It must be positive.
      forget_bias: Initial bias of the update gate, as in `GRU`.
      scheme: How parameters are initialized, as in `GRU`; scales are one.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.LayerNormGRU(hidden_size=4)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> _, ys = jrnn.scan(cell, params, None, jnp.ones((2, 5, 3)))
      >>> ys.shape
      (2, 5, 4)

    References:
      [1] Ba et al., 2016, https://arxiv.org/abs/1607.06450, supplement, GRU
    """

    hidden_size: int
    gate: Activation = activations.sigmoid
    activation: Activation = activations.tanh
    bias: bool = True
    epsilon: float = 1e-5
    forget_bias: float | GateBias | None = init_only(None)
    scheme: str = init_only("jrnn")

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.positive("epsilon", self.epsilon)

    @property
    def form(self) -> Gated:
        return Gated(
            hidden=lambda state: state.h,
            recurrent=lambda params: Matmul(params.w_h),
            combine=lambda params, u, v: (u, v),  # cheap; `_update` is hoisted
            update=self._update,
            gates=self._gates,
            local=False,
        )

    def init(
        self, key: PRNGKey, input_size: int, dtype: DType = float
    ) -> LayerNormGRUParams:
        """Draws parameters for inputs [..., input_size]."""
        size = self.hidden_size
        w_x, w_h, b_x, _ = draw(self, key, "gru", input_size, 3, dtype, GRU_REMEMBERS)
        b_h = jnp.zeros(size, dtype) if self.bias else None
        ones = jnp.ones((2, 3 * size), dtype)
        return LayerNormGRUParams(w_x, w_h, b_x, b_h, ones[0], ones[1])

    def initial_state(
        self, params: LayerNormGRUParams, batch_shape: Shape = ()
    ) -> GRUState:
        """Returns zeros of shape [*batch_shape, H]."""
        return GRUState(h=zeros(params.w_h, *batch_shape, self.hidden_size))

    def project(
        self, params: LayerNormGRUParams, x: Array, *, key: PRNGKey | None = None
    ) -> Array:
        """Maps inputs [..., F] to their normalized matmul plus the bias, [..., 3H]."""
        del key
        u = self._normalize(affine(x, params.w_x)) * along(params.scale_x, x)
        return u if params.b_x is None else u + along(params.b_x, u)

    def _normalize(self, a: Array) -> Array:
        """Normalizes the two gates together, and the candidate."""
        parts = jnp.split(a, [2 * self.hidden_size], axis=-1)
        return jnp.concatenate([normalize(p, self.epsilon) for p in parts], axis=-1)

    def _scaled(self, params: LayerNormGRUParams, v: Array) -> Array:
        return along(params.scale_h, v) * self._normalize(v)

    def _update(
        self, params: LayerNormGRUParams, state: GRUState, p: tuple[Array, Array]
    ) -> GRUState:
        u_r, u_z, u_n = split(p[0], 3)
        v_r, v_z, v_n = split(self._scaled(params, p[1]), 3)
        v_n = v_n if params.b_h is None else v_n + along(params.b_h, v_n)
        n = self.activation(u_n + self.gate(u_r + v_r) * v_n)
        return GRUState(h=n + self.gate(u_z + v_z) * (state.h - n))

    def _gates(
        self, params: LayerNormGRUParams, state: GRUState, p: tuple[Array, Array]
    ) -> dict[str, Array]:
        del state
        pre = p[0] + self._scaled(params, p[1])
        r, z, _ = split(pre, 3)
        return {"r": self.gate(r), "z": self.gate(z)}
