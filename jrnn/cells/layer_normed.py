"""Layer normalization inside a recurrent cell."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn.cells import activations
from jrnn.cells.affine import Gates, affine, join, split
from jrnn.cells.base import HiddenCell, Wrapper, draw, inner_params, zeros
from jrnn.cells.lstm import LSTMState
from jrnn.forms import Gated, Matmul
from jrnn.numerics import normalize
from jrnn.types import Activation, Array, Cell, DType, Params, PRNGKey, Shape, State
from jrnn.values import exportable, init_only, value


@exportable
class LayerNormedParams(NamedTuple):
    """Parameters of a gated cell and of the two normalizations in it."""

    cell: Params
    scale_x: Array  # [k*H] of the input's matmul
    scale_h: Array  # [k*H] of the state's matmul


@value
class LayerNormed(Wrapper):
    """Normalizes both matmuls of a gated cell [1].

        pre = LN(h Wh) * scale_h + LN(x Wx) * scale_x + b

    with LN(a) = (a - mean(a)) / sqrt(var(a) + epsilon) over all gates together. Biases
    are those of the cell. Ba et al. also normalize the memory of an LSTM where it is
    read: that is `LayerNormLSTM`.

    Attributes:
      cell: A cell whose form is gated: `Elman`, `LSTM`, `GRU`.
      epsilon: Keeps the square root away from zero.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.LayerNormed(jrnn.GRU(hidden_size=4))
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> _, ys = jrnn.scan(cell, params, None, jnp.ones((2, 5, 3)))
      >>> ys.shape
      (2, 5, 4)

    References:
      [1] Ba et al., 2016, https://arxiv.org/abs/1607.06450
    """

    cell: Cell
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.cell.form, Gated):
            raise TypeError(
                "LayerNormed normalizes the two matmuls of a cell whose form is "
                f"`jrnn.forms.Gated`, but {self.cell} has another form. Wrap an "
                "`LSTM`, a `GRU` or an `Elman` network."
            )

    @property
    def form(self) -> Gated:
        inner: Any = self.cell.form.focus(inner_params)

        def combine(params: Any, u: Any, v: Array) -> Any:
            v = params.scale_h * normalize(v, self.epsilon)
            return inner.combine(params, u, v)

        def update(params: Any, state: State, p: tuple[Any, Array]) -> State:
            return inner.update(params, state, combine(params, *p))

        def gates(params: Any, state: State, p: tuple[Any, Array]) -> dict[str, Array]:
            return inner.gates(params, state, combine(params, *p))

        return inner._replace(
            combine=lambda params, u, v: (u, v),  # cheap; `update` is hoisted
            update=update,
            inputs=None,
            gates=inner.gates and gates,
            local=False,
        )

    def init(
        self, key: PRNGKey, input_size: Any, dtype: DType = jnp.float32
    ) -> LayerNormedParams:
        """Draws the parameters of the cell; scales are one."""
        params = self.cell.init(key, input_size, dtype)
        width = jax.eval_shape(self._recurrent, params).shape[-1]
        scales = jnp.ones(width, dtype), jnp.ones(width, dtype)
        return LayerNormedParams(params, *scales)

    def initial_state(self, params: LayerNormedParams, batch_shape: Shape = ()) -> Any:
        """Returns the initial state of the cell."""
        return self.cell.initial_state(params.cell, batch_shape)

    def prepare(
        self,
        params: LayerNormedParams,
        *,
        key: PRNGKey | None = None,
        batch_shape: Shape = (),
    ) -> LayerNormedParams:
        """Prepares the parameters of the cell."""
        cell = self.cell.prepare(params.cell, key=key, batch_shape=batch_shape)
        return params._replace(cell=cell)

    def project(
        self, params: LayerNormedParams, x: Array, *, key: PRNGKey | None = None
    ) -> Any:
        """Maps inputs to their normalized matmul, plus the biases."""
        u, separate = join(self.cell.project(params.cell, x, key=key), x.ndim)
        # The projection is affine: at zero it is the biases alone.
        zero = jnp.zeros(x.shape[x.ndim - self.feature_axes :], x.dtype)
        bias, _ = join(self.cell.project(params.cell, zero), zero.ndim)
        return separate(params.scale_x * normalize(u - bias, self.epsilon) + bias)

    def read(self, params: LayerNormedParams, state: State, u: Any) -> Array:
        """Returns the output of the cell."""
        return self.cell.read(params.cell, state, u)

    def _recurrent(self, params: Params) -> Array:
        """Returns the matmul of an initial state, for its shape."""
        form: Any = self.cell.form
        h = form.hidden(self.cell.initial_state(params))
        return form.recurrent(self.cell.prepare(params))(h)


@exportable
class LayerNormLSTMParams(NamedTuple):
    """Arrays of a layer-normalized LSTM with F input features and H hidden units.

    The gates lie side by side along the last axis, in the order i, f, g, o.
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
    """LSTM with layer normalization of both matmuls and of the memory it reads [1].

        pre = LN(x Wx) * scale_x + LN(h Wh) * scale_h + b      gates i, f, g, o
        c'  = gate(f) * c + gate(i) * activation(g)
        h'  = gate(o) * activation(LN(c') * scale_c + shift_c)

    with LN(a) = (a - mean(a)) / sqrt(var(a) + epsilon), over all gates together. The
    memory c' that is carried is *not* normalized. The state is an `LSTMState`.

    Attributes:
      hidden_size: The number H of hidden units.
      gate: Activation of the gates.
      activation: Activation of the candidate, and of the memory in the output.
      bias: Whether there is a bias.
      epsilon: Keeps the square root away from zero.
      forget_bias: Initial bias of the forget gate, as in `LSTM`.
      scheme: How parameters are drawn, as in `LSTM`; scales are one and shifts zero.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.LayerNormLSTM(hidden_size=4)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> _, ys = jrnn.scan(cell, params, None, jnp.ones((2, 5, 3)))
      >>> ys.shape
      (2, 5, 4)

    References:
      [1] Ba et al., 2016, https://arxiv.org/abs/1607.06450
    """

    hidden_size: int
    gate: Activation = activations.sigmoid
    activation: Activation = activations.tanh
    bias: bool = True
    epsilon: float = 1e-5
    forget_bias: float | None = init_only(None)
    scheme: str = init_only("jrnn")

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
        self, key: PRNGKey, input_size: int, dtype: DType = jnp.float32
    ) -> LayerNormLSTMParams:
        """Draws parameters for inputs [..., input_size]."""
        size = self.hidden_size
        w_x, w_h, b, _ = draw(self, key, "lstm", input_size, 4, dtype)
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
        u = params.scale_x * normalize(affine(x, params.w_x), self.epsilon)
        return u if params.b is None else u + params.b

    def _pre(self, params: LayerNormLSTMParams, p: tuple[Array, Array]) -> Gates:
        u, v = p
        return split(u + params.scale_h * normalize(v, self.epsilon), 4)

    def _update(
        self, params: LayerNormLSTMParams, state: LSTMState, p: tuple[Array, Array]
    ) -> LSTMState:
        i, f, g, o = self._pre(params, p)
        c = self.gate(f) * state.c + self.gate(i) * self.activation(g)
        seen = params.scale_c * normalize(c, self.epsilon) + params.shift_c
        return LSTMState(h=self.gate(o) * self.activation(seen), c=c)

    def _gates(
        self, params: LayerNormLSTMParams, state: LSTMState, p: tuple[Array, Array]
    ) -> dict[str, Array]:
        del state
        i, f, _, o = self._pre(params, p)
        return {"i": self.gate(i), "f": self.gate(f), "o": self.gate(o)}
