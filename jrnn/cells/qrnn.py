"""Quasi-recurrent network: a convolution along time below a linear recurrence."""

from typing import Any, NamedTuple

import jax.numpy as jnp

from jrnn import checks, initializers
from jrnn.cells import activations
from jrnn.cells.affine import affine, split
from jrnn.cells.base import VectorCell, zeros
from jrnn.forms import Form, Linear, Plain
from jrnn.types import Array, DType, PRNGKey, Shape
from jrnn.values import exportable, value

Taps = tuple[tuple[Array, ...], ...]  # for each tap of the window its z, f and o


@exportable
class QRNNParams(NamedTuple):
    """Arrays of a QRNN with F input features, H units and a window of K steps."""

    w_x: Array  # [K, F, 3H] the input of k steps ago to z, f, o
    b_x: Array | None  # [3H]


@exportable
class QRNNState(NamedTuple):
    """State of a QRNN."""

    c: Array  # [..., H]
    o: Array | None  # [..., H] output gate of the last step, with a window
    pending: Taps  # what earlier inputs add to later steps, each [..., H]


@value
class QRNN(VectorCell):
    """Quasi-recurrent network with fo-pooling [1].

        z  = tanh(sum_k x[t-k] Wz[k] + bz)
        f  = sigmoid(sum_k x[t-k] Wf[k] + bf),  o = sigmoid(sum_k x[t-k] Wo[k] + bo)
        c' = f * c + (1 - f) * z
        y  = o * c'                                      k = 0 ... window - 1

    Every input is multiplied by the weights of all K positions of the window at once,
    outside the loop, and the state carries the contributions to later steps. So a
    sequence can be split anywhere, padding and resets apply to the window too, and the
    steps are elementwise. With a window of one step, the cell is linear in its state.

    Attributes:
      hidden_size: The number H of hidden units.
      window: The number K of steps that a gate reads.
      bias: Whether there is a bias.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.QRNN(hidden_size=4, window=3)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> state, ys = jrnn.scan(cell, params, None, jnp.ones((2, 5, 3)))
      >>> ys.shape
      (2, 5, 4)

    References:
      [1] Bradbury et al., 2017, https://arxiv.org/abs/1611.01576
    """

    hidden_size: int
    window: int = 2
    bias: bool = True

    @property
    def output_size(self) -> int:
        return self.hidden_size

    @property
    def form(self) -> Form:
        if self.window == 1:
            return Linear(self._coefficients, gates=self._gates)
        leaves = 2 + 3 * (self.window - 1)
        return Plain(self._step, ("block", leaves), self._gates)

    def init(self, key: PRNGKey, input_size: int, dtype: DType = float) -> QRNNParams:
        """Draws Glorot uniform weights and a zero bias."""
        input_size = checks.integer("input_size", input_size, 1)
        checks.dtype("dtype", dtype)
        size = self.hidden_size

        def draw(key: PRNGKey) -> Array:
            fan_in = self.window * input_size
            return initializers.glorot_uniform(key, fan_in, size, 1, jnp.float32)

        w_x = jnp.concatenate([draw(k) for k in checks.split_key(key, 3)], axis=-1)
        return QRNNParams(
            w_x.reshape(self.window, input_size, 3 * size).astype(dtype),
            jnp.zeros(3 * size, dtype) if self.bias else None,
        )

    def initial_state(self, params: QRNNParams, batch_shape: Shape = ()) -> QRNNState:
        """Returns zeros of shape [*batch_shape, H]."""

        def start() -> Array:
            return zeros(params.w_x, *batch_shape, self.hidden_size)

        later = self.window - 1
        pending = tuple((start(), start(), start()) for _ in range(later))
        return QRNNState(start(), start() if later else None, pending)

    def project(
        self, params: QRNNParams, x: Array, *, key: PRNGKey | None = None
    ) -> Taps:
        """Multiplies inputs [..., F] with the weights of every place of the window."""
        del key
        now = split(affine(x, params.w_x[0], params.b_x), 3)
        return (now, *(split(affine(x, w), 3) for w in params.w_x[1:]))

    def read(self, params: QRNNParams, state: QRNNState, u: Taps) -> Array:
        """Returns the gated state."""
        del params
        o = activations.sigmoid(u[0][2]) if state.o is None else state.o
        return o * state.c

    def _blocks(self, state: QRNNState, u: Taps) -> tuple[Array, ...]:
        """Returns the contributions of the whole window to z, f and o."""
        if not state.pending:
            return u[0]
        return tuple(a + b for a, b in zip(u[0], state.pending[0], strict=True))

    def _gates(self, params: Any, state: QRNNState, u: Taps) -> dict[str, Array]:
        del params
        _, f, o = self._blocks(state, u)
        return {"f": activations.sigmoid(f), "o": activations.sigmoid(o)}

    def _coefficients(self, params: Any, u: Taps) -> tuple[Any, Any]:
        del params
        z, f, _ = u[0]
        f = activations.sigmoid(f)
        return QRNNState(f, None, ()), QRNNState((1 - f) * jnp.tanh(z), None, ())

    def _step(self, params: Any, state: QRNNState, u: Taps) -> QRNNState:
        f, o = self._gates(params, state, u).values()
        z = jnp.tanh(self._blocks(state, u)[0])
        c = f * state.c + (1 - f) * z
        later = [
            tuple(a + b for a, b in zip(taps, waiting, strict=True))
            for taps, waiting in zip(u[1:], state.pending[1:], strict=False)
        ]
        return QRNNState(c, o, (*later, u[-1]))
