"""Minimal gated unit: one gate that both forgets and resets."""

from typing import NamedTuple

from jrnn import checks, initializers
from jrnn.cells import activations
from jrnn.cells.affine import Gates, affine, split
from jrnn.cells.base import HiddenCell, draw, zeros
from jrnn.forms import Gated, Matmul
from jrnn.numerics import along
from jrnn.types import Activation, Array, DType, GateBias, PRNGKey, Shape
from jrnn.values import exportable, init_only, value


@exportable
class MGUParams(NamedTuple):
    """Arrays of a minimal gated unit with F input features and H hidden units.

    The gate and the candidate are concatenated along the last axis, in the order f, n.
    """

    w_x: Array  # [F, 2H] input to gate and candidate
    w_h: Array  # [H, 2H] state to gate and candidate
    b_x: Array | None  # [2H] bias
    b_h: Array | None = None  # [H] bias of the candidate under the gate


@exportable
class MGUState(NamedTuple):
    """State of a minimal gated unit."""

    h: Array  # [..., H]


@value
class MGU(HiddenCell):
    """Minimal gated unit [1]; the output is the new state.

        f  = gate(x Wxf + bf + h Whf)                     the only gate
        n  = activation(x Wxn + bn + f * (h Whn + b_h))   candidate
        h' = (1 - f) * n + f * h

    The gate acts after the matmul with the state. f = 1 keeps the state, as in Flax;
    the paper's f is 1 - f here. `MGU(reset=False)` is the update gate RNN (UGRNN) [2].

    Attributes:
      hidden_size: The number H of hidden units.
      gate: Activation of the gate.
      activation: Activation of the candidate.
      reset: Whether the gate also multiplies the state's contribution to the candidate;
        if not, `n = activation(x Wxn + bn + h Whn)`, and there is no `b_h`.
      bias: Whether there is a bias.
      forget_bias: Initial bias of the gate; a number, or a function that draws it, as
        in `LSTM`.
      scheme: How parameters are initialized, as in `GRU`.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.MGU(hidden_size=4)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> state, ys = jrnn.scan(cell, params, None, jnp.ones((2, 5, 3)))
      >>> ys.shape  # [batch, time, hidden]
      (2, 5, 4)

    References:
      [1] Zhou et al., 2016, https://arxiv.org/abs/1603.09420
      [2] Collins et al., 2017, https://arxiv.org/abs/1611.09913
    """

    hidden_size: int
    gate: Activation = activations.sigmoid
    activation: Activation = activations.tanh
    reset: bool = True
    bias: bool = True
    forget_bias: float | GateBias | None = init_only(1.0)
    scheme: str = init_only("jrnn")

    @property
    def form(self) -> Gated:
        return Gated(
            hidden=lambda state: state.h,
            recurrent=lambda params: Matmul(params.w_h),
            combine=self._combine,
            update=self._update,
            gates=lambda params, state, p: {"f": self.gate(p[0])},
        )

    def init(self, key: PRNGKey, input_size: int, dtype: DType = float) -> MGUParams:
        """Draws parameters for inputs [..., input_size]."""
        key, key_n = checks.split_key(key)
        w_x, w_h, b_x, b_h = draw(self, key, "mgu", input_size, 2, dtype, (1, 0))
        if b_x is not None and self.reset:
            scheme = initializers.scheme(self.scheme, "mgu")
            b_h = initializers.biases(key_n, scheme, self.hidden_size, 1, dtype)
        return MGUParams(w_x, w_h, b_x, b_h)

    def initial_state(self, params: MGUParams, batch_shape: Shape = ()) -> MGUState:
        """Returns zeros of shape [*batch_shape, H]."""
        return MGUState(h=zeros(params.w_h, *batch_shape, self.hidden_size))

    def project(
        self, params: MGUParams, x: Array, *, key: PRNGKey | None = None
    ) -> Gates:
        """Maps inputs [..., F] to their contributions to f and n, each [..., H]."""
        del key
        return split(affine(x, params.w_x, params.b_x), 2)

    def _combine(self, params: MGUParams, u: Gates, v: Array) -> Gates:
        """Adds the contributions to f; those to n stay separate."""
        u_f, u_n = u
        v_f, v_n = split(v, 2)
        if params.b_h is not None:
            v_n = v_n + along(params.b_h, v_n)
        return u_f + v_f, u_n, v_n

    def _update(self, params: MGUParams, state: MGUState, p: Gates) -> MGUState:
        del params
        f, u_n, v_n = p
        f = self.gate(f)
        n = self.activation(u_n + (f * v_n if self.reset else v_n))
        return MGUState(h=n + f * (state.h - n))
