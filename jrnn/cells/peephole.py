"""Long short-term memory with peepholes, coupled gates, or both."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jrnn import initializers
from jrnn.cells import activations
from jrnn.cells.affine import Gates, affine, split
from jrnn.cells.base import HiddenCell, draw, zeros
from jrnn.cells.lstm import LSTMState
from jrnn.forms import Gated, Matmul
from jrnn.types import Activation, Array, DType, PRNGKey, Shape
from jrnn.values import exportable, init_only, value


@exportable
class PeepholeLSTMParams(NamedTuple):
    """Arrays of a peephole LSTM with F input features and H hidden units.

    The gates lie side by side along the last axis, in the order i, f, g, o. Coupled
    gates have no f: k is 3 instead of 4, and p is [2H].
    """

    w_x: Array  # [F, k*H] input to gates
    w_h: Array  # [H, k*H] state to gates
    b_x: Array | None  # [k*H] bias of the gates
    b_h: Array | None = None  # [k*H] second bias, with the matmul of the state
    p: Array | None = None  # [3H] memory to the gates i, f, o, elementwise


@value
class PeepholeLSTM(HiddenCell):
    """Long short-term memory whose gates read the memory [1]; the output is h'.

        i  = gate(x Wxi + bi + h Whi + pi * c)     input gate
        f  = gate(x Wxf + bf + h Whf + pf * c)     forget gate; 1 - i if coupled [2]
        g  = activation(x Wxg + bg + h Whg)        candidate
        c' = f * c + i * g
        o  = gate(x Wxo + bo + h Who + po * c')    output gate: it reads the new memory
        h' = o * output_activation(c')

    The equations of ONNX and of TensorFlow Lite.

    Attributes:
      hidden_size: The number H of hidden units.
      coupled: Whether the forget gate is 1 - i, with no parameters of its own.
      peepholes: Whether gates read the memory. False with `coupled` is the plain LSTM
        with coupled gates.
      gate: Activation of the gates.
      activation: Activation of the candidate.
      output_activation: Activation of the memory in the output; None for that of the
        candidate.
      bias: Whether there is a bias.
      separate_biases: Whether there are two, `b_x` and `b_h`, as PyTorch trains.
      forget_bias: Initial bias of the forget gate, stored in the parameter; if coupled,
        that of the input gate is its negative. None takes the value of the scheme.
      scheme: How parameters are drawn, as in `LSTM`; peepholes are uniform in
        +-1/sqrt(H).

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.PeepholeLSTM(hidden_size=4, coupled=True)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> state, ys = jrnn.scan(cell, params, None, jnp.ones((2, 5, 3)))
      >>> ys.shape, params.w_x.shape
      ((2, 5, 4), (3, 12))

    References:
      [1] Gers and Schmidhuber, 2000, https://doi.org/10.1109/IJCNN.2000.861302
      [2] Greff et al., 2017, https://arxiv.org/abs/1503.04069
    """

    hidden_size: int
    coupled: bool = False
    peepholes: bool = True
    gate: Activation = activations.sigmoid
    activation: Activation = activations.tanh
    output_activation: Activation | None = None
    bias: bool = True
    separate_biases: bool = False
    forget_bias: float | None = init_only(None)
    scheme: str = init_only("jrnn")

    @property
    def form(self) -> Gated:
        return Gated(
            hidden=lambda state: state.h,
            recurrent=lambda params: Matmul(params.w_h),
            update=self._update,
            inputs=lambda params: params.w_x,
            gates=lambda params, state, p: self._remember(params, state, p)[0],
        )

    @property
    def blocks(self) -> int:
        """The number k of gates with parameters of their own."""
        return 3 if self.coupled else 4

    def init(
        self, key: PRNGKey, input_size: int, dtype: DType = jnp.float32
    ) -> PeepholeLSTMParams:
        """Draws parameters for inputs [..., input_size]."""
        key_gates, key_p = jax.random.split(key)
        size, blocks = self.hidden_size, self.blocks
        w_x, w_h, b_x, b_h = draw(self, key_gates, "lstm", input_size, blocks, dtype)
        if self.coupled and b_x is not None:
            scheme, start = initializers.scheme(self.scheme, "lstm"), self.forget_bias
            b_x = b_x.at[:size].add(-(scheme.forget_bias if start is None else start))
        p = None
        if self.peepholes:
            p = initializers.uniform(key_p, 1, size, blocks - 1, dtype)[0]
        return PeepholeLSTMParams(w_x, w_h, b_x, b_h, p)

    def initial_state(
        self, params: PeepholeLSTMParams, batch_shape: Shape = ()
    ) -> LSTMState:
        """Returns zeros of shape [*batch_shape, H]."""
        shape = (*batch_shape, self.hidden_size)
        return LSTMState(h=zeros(params.w_h, *shape), c=zeros(params.w_h, *shape))

    def project(
        self, params: PeepholeLSTMParams, x: Array, *, key: PRNGKey | None = None
    ) -> Gates:
        """Maps inputs [..., F] to their contributions to the k gates, each [..., H]."""
        del key
        return split(affine(x, params.w_x, params.b_x, params.b_h), self.blocks)

    def _update(
        self, params: PeepholeLSTMParams, state: LSTMState, p: Gates
    ) -> LSTMState:
        gates, c = self._remember(params, state, p)
        out = self.output_activation or self.activation
        return LSTMState(h=gates["o"] * out(c), c=c)

    def _remember(
        self, params: PeepholeLSTMParams, state: LSTMState, p: Gates
    ) -> tuple[dict[str, Array], Array]:
        """Returns the gates, and the next memory, which the last of them reads."""
        *before, g, o = p
        *weights, weight_o = self._peepholes(params, o)
        gates = [
            self.gate(a + weight * state.c)
            for a, weight in zip(before, weights, strict=True)
        ]
        i, f = (gates[0], 1 - gates[0]) if self.coupled else gates
        c = f * state.c + i * self.activation(g)
        return {"i": i, "f": f, "o": self.gate(o + weight_o * c)}, c

    def _peepholes(self, params: PeepholeLSTMParams, o: Array) -> list[Array]:
        """Returns the peepholes of the gates before the candidate, and of o."""
        gates = self.blocks - 1
        if params.p is None:
            return [jnp.zeros((), o.dtype)] * gates
        return jnp.split(params.p, gates)
