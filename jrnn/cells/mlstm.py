"""mLSTM, the matrix memory of xLSTM."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn import checks, initializers, options
from jrnn.cells import activations
from jrnn.cells.affine import affine
from jrnn.cells.base import VectorCell, zeros
from jrnn.forms import Form, Linear, Plain
from jrnn.types import Array, DType, PRNGKey, Shape
from jrnn.values import exportable, value


@exportable
class MLSTMParams(NamedTuple):
    """Arrays of an mLSTM with F inputs and H units in heads of D = H / heads."""

    w_qkv: Array  # [F, 3H] input to queries, keys and values
    w_if: Array  # [F, 2 heads] input to input gates and forget gates
    b_if: Array  # [2 heads]
    w_o: Array  # [F, H] input to the output gate
    b_o: Array  # [H]


@exportable
class MLSTMState(NamedTuple):
    """State of an mLSTM."""

    c: Array  # [..., heads, D, D] memory, keys by values, times exp(-m)
    n: Array  # [..., heads, D] normalizer, times exp(-m)
    m: Array | None  # [..., heads] stabilizer; None for zero


class MLSTMInput(NamedTuple):
    """A projected input."""

    q: Array  # [..., heads, D]
    k: Array  # [..., heads, D], divided by sqrt(D)
    v: Array  # [..., heads, D]
    i: Array  # [..., heads] logarithm of the input gate
    f: Array  # [..., heads] pre-activation of the forget gate
    o: Array  # [..., H] output gate


@value
class MLSTM(VectorCell):
    """LSTM with a matrix as memory, an exponential gate and a normalizer [1].

        q, k, v = x Wq, x Wk / sqrt(D), x Wv             for each head
        i, f    = x Wi + bi, x Wf + bf                   one number per head
        m'  = max(log sigmoid(f) + m, i)                 stabilizer
        i*  = exp(i - m'),  f* = exp(log sigmoid(f) + m - m')
        C'  = f* C + i* k v^T
        n'  = f* n + i* k
        y   = sigmoid(x Wo + bo) * (q C') / (max(|n' . q|, exp(-m')) + epsilon)

    The normalizer is the larger of |n . q| and one, in units of the stabilizer, which
    cancels out. With `stabilized=False` there is none: the memory is linear in its
    state, so all steps can be computed at once, and i must not exceed about 80 in
    float32.

    Attributes:
      hidden_size: The number H of outputs, H / heads for each head.
      heads: The number of heads, which divides H.
      stabilized: Whether there is a stabilizer.
      epsilon: Added to the normalizer.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.MLSTM(hidden_size=4, heads=2)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> state, ys = jrnn.scan(cell, params, None, jnp.ones((2, 5, 3)))
      >>> ys.shape, state.c.shape
      ((2, 5, 4), (2, 2, 2, 2))

    References:
      [1] Beck et al., 2024, https://arxiv.org/abs/2405.04517
    """

    hidden_size: int
    heads: int = 1
    stabilized: bool = True
    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        options.check(self)
        checks.divides("heads", self.heads, "hidden_size", self.hidden_size)
        checks.at_least("epsilon", self.epsilon, 0)

    @property
    def output_size(self) -> int:
        return self.hidden_size

    @property
    def form(self) -> Form:
        if self.stabilized:
            return Plain(self._step, gates=self._gates, local=False)
        return Linear(self._coefficients, gates=self._gates, local=False)

    def init(self, key: PRNGKey, input_size: int, dtype: DType = float) -> MLSTMParams:
        """Draws LeCun normal weights; biases of the forget gate run from 3 to 6."""
        input_size = checks.integer("input_size", input_size, 1)
        keys = checks.split_key(key, 3)
        draw = initializers.lecun_normal
        f = jnp.linspace(3.0, 6.0, self.heads)
        return MLSTMParams(
            w_qkv=draw(keys[0], input_size, self.hidden_size, 3, dtype),
            w_if=draw(keys[1], input_size, self.heads, 2, dtype),
            b_if=jnp.concatenate([jnp.zeros(self.heads), f]).astype(dtype),
            w_o=draw(keys[2], input_size, self.hidden_size, 1, dtype),
            b_o=jnp.zeros(self.hidden_size, dtype),
        )

    def initial_state(self, params: MLSTMParams, batch_shape: Shape = ()) -> MLSTMState:
        """Returns zeros."""
        heads, size = self.heads, self.hidden_size // self.heads
        start = [(heads, size, size), (heads, size), (heads,)]
        c, n, m = (zeros(params.w_qkv, *batch_shape, *shape) for shape in start)
        return MLSTMState(c, n, m if self.stabilized else None)

    def project(
        self, params: MLSTMParams, x: Array, *, key: PRNGKey | None = None
    ) -> MLSTMInput:
        """Maps inputs [..., F] to queries, keys, values and gates."""
        del key
        size = self.hidden_size // self.heads
        qkv = affine(x, params.w_qkv).reshape(*x.shape[:-1], 3, self.heads, size)
        q, k, v = (qkv[..., index, :, :] for index in range(3))
        i, f = jnp.split(affine(x, params.w_if, params.b_if), 2, axis=-1)
        o = activations.sigmoid(affine(x, params.w_o, params.b_o))
        return MLSTMInput(q, k / size**0.5, v, i, f, o)

    def read(self, params: MLSTMParams, state: MLSTMState, u: MLSTMInput) -> Array:
        """Returns what the query finds in the memory, normalized and gated."""
        del params
        found = jnp.einsum("...hk,...hkv->...hv", u.q, state.c)
        weight = jnp.abs(jnp.sum(u.q * state.n, axis=-1))
        least: Any = 1.0
        if state.m is not None:  # exp would overflow, and y be 0 with a gradient of NaN
            limit = 0.4 * math.log(float(jnp.finfo(state.m.dtype).max))
            least = jnp.exp(-jnp.maximum(state.m, -limit))
        y = found / (jnp.maximum(weight, least) + self.epsilon)[..., None]
        return u.o * y.reshape(*y.shape[:-2], self.hidden_size)

    def _gates(self, params: Any, state: Any, u: MLSTMInput) -> dict[str, Array]:
        del params, state
        return {"f": activations.sigmoid(u.f), "o": u.o}

    def _coefficients(self, params: Any, u: MLSTMInput) -> tuple[Any, Any]:
        del params
        return _affine(activations.sigmoid(u.f), jnp.exp(u.i), u)

    def _step(self, params: Any, state: MLSTMState, u: MLSTMInput) -> MLSTMState:
        m: Any = state.m
        kept = jax.nn.log_sigmoid(u.f) + m
        m = jnp.maximum(kept, u.i)
        a, b = _affine(jnp.exp(kept - m), jnp.exp(u.i - m), u)
        return MLSTMState(a.c * state.c + b.c, a.n * state.n + b.n, m)


def _affine(f: Array, i: Array, u: MLSTMInput) -> tuple[MLSTMState, MLSTMState]:
    """Returns the factors and the addends of memory and normalizer."""
    k = i[..., None] * u.k
    addend = MLSTMState(k[..., :, None] * u.v[..., None, :], k, None)
    return MLSTMState(f[..., None, None], f[..., None], None), addend
