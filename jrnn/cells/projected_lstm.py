"""Long short-term memory whose output is projected to fewer units."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jrnn import checks, initializers
from jrnn.cells import activations
from jrnn.cells.affine import Gates, add, affine, split
from jrnn.cells.lstm import LSTMState
from jrnn.types import Activation, Array, DType, PRNGKey, Shape, exportable, value


@exportable
class ProjectedLSTMParams(NamedTuple):
    """Arrays of a projected LSTM with F input features, H units and P outputs.

    The gates lie side by side along the last axis, in the order i, f, g, o.
    """

    w_x: Array  # [F, 4H] input to gates
    w_h: Array  # [P, 4H] output to gates
    w_p: Array  # [H, P] units to output
    b_x: Array | None  # [4H] bias of the gates
    b_h: Array | None = None  # [4H] second bias, of the output's product


@value
class ProjectedLSTM:
    """Long short-term memory with a recurrent projection [1]; the output is h'.

        i  = gate(x Wxi + bi + h Whi)              input gate
        f  = gate(x Wxf + bf + h Whf)              forget gate
        g  = activation(x Wxg + bg + h Whg)        candidate
        o  = gate(x Wxo + bo + h Who)              output gate
        c' = f * c + i * g
        h' = (o * activation(c')) Wp

    The memory c keeps H units, while h, which is both the output and what the gates
    read, has only P: the cell of PyTorch's `proj_size`. The state is an `LSTMState`.

    Attributes:
      hidden_size: The number H of units of the memory.
      projection_size: The number P of outputs.
      gate: Activation of the gates.
      activation: Activation of the candidate and of the memory on its way out.
      bias: "single"; "double" for the two biases that PyTorch trains; None for none.
      forget_bias: What the forget gate's bias starts at, as in `LSTM`.
      scheme: How parameters are drawn, as in `LSTM`.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.ProjectedLSTM(hidden_size=8, projection_size=2)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> state, ys = jrnn.scan(cell, params, None, jnp.ones((2, 5, 3)))
      >>> ys.shape, state.c.shape
      ((2, 5, 2), (2, 8))

    References:
      [1] Sak et al., 2014, https://arxiv.org/abs/1402.1128
    """

    hidden_size: int
    projection_size: int
    gate: Activation = activations.sigmoid
    activation: Activation = activations.tanh
    bias: str | None = "single"
    forget_bias: float | None = None
    scheme: str = "jrnn"

    feature_axes = 1
    structure = "dense"

    @property
    def output_size(self) -> int:
        return self.projection_size

    def init(
        self, key: PRNGKey, input_size: int, dtype: DType = jnp.float32
    ) -> ProjectedLSTMParams:
        """Draws parameters for inputs [..., input_size]."""
        checks.at_least("projection_size", self.projection_size, 1)
        how = initializers.scheme(self.scheme, "lstm")
        key, key_p = jax.random.split(key)
        size, read = self.hidden_size, self.projection_size
        (w_x, w_h), (b_x, b_h) = initializers.recurrent_weights(
            key, how, self.bias, input_size, size, 4, dtype, state_size=read
        )
        w_p = how.w_h(key_p, read, size, 1, dtype).T  # PyTorch's bound counts H
        start = how.forget_bias if self.forget_bias is None else self.forget_bias
        if b_x is not None:
            b_x = b_x.at[size : 2 * size].add(start)
        return ProjectedLSTMParams(w_x, w_h, w_p, b_x, b_h)

    def initial_state(
        self, params: ProjectedLSTMParams, batch_shape: Shape = ()
    ) -> LSTMState:
        """Returns zeros: h [*batch_shape, P] and c [*batch_shape, H]."""
        dtype = params.w_h.dtype
        return LSTMState(
            h=jnp.zeros((*batch_shape, self.projection_size), dtype),
            c=jnp.zeros((*batch_shape, self.hidden_size), dtype),
        )

    def prepare(
        self,
        params: ProjectedLSTMParams,
        *,
        key: PRNGKey | None = None,
        batch_shape: Shape = (),
    ) -> ProjectedLSTMParams:
        """Returns the parameters as they are."""
        del key, batch_shape
        return params

    def project(
        self, params: ProjectedLSTMParams, x: Array, *, key: PRNGKey | None = None
    ) -> Gates:
        """Maps inputs [..., F] to their shares of i, f, g and o, each [..., H]."""
        del key
        return split(affine(x, params.w_x, params.b_x, params.b_h), 4)

    def step(
        self, params: ProjectedLSTMParams, state: LSTMState, u: Gates
    ) -> LSTMState:
        """Returns the next state."""
        i, f, g, o = add(u, state.h @ params.w_h)
        c = self.gate(f) * state.c + self.gate(i) * self.activation(g)
        return LSTMState(h=(self.gate(o) * self.activation(c)) @ params.w_p, c=c)

    def read(self, params: ProjectedLSTMParams, state: LSTMState, u: Gates) -> Array:
        """Returns h [..., P]."""
        del params, u
        return state.h

    def gates(
        self, params: ProjectedLSTMParams, state: LSTMState, u: Gates
    ) -> dict[str, Array]:
        """Returns i, f and o, each [..., H]."""
        i, f, _, o = add(u, state.h @ params.w_h)
        return {"i": self.gate(i), "f": self.gate(f), "o": self.gate(o)}
