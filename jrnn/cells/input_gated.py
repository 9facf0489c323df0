"""The base of cells whose gates depend only on the input, so they are linear."""

import abc
from typing import Any, NamedTuple, final

import jax.numpy as jnp

from jrnn import checks, initializers
from jrnn.cells.affine import Gates, affine, split
from jrnn.cells.base import HiddenState, VectorCell, zeros
from jrnn.forms import Linear
from jrnn.types import Array, DType, PRNGKey, Shape
from jrnn.values import exportable


@exportable
class InputGatedParams(NamedTuple):
    """Arrays of a cell with F input features, H units and k blocks side by side."""

    w_x: Array  # [F, kH]
    b_x: Array | None  # [kH]


class InputGated(VectorCell):
    """A cell h' = a(x) * h + b(x), with a and b elementwise in k blocks of x W + c.

    Subclasses have the fields `hidden_size` and `bias`, the number of `blocks`, and
    define `gates`, `coefficients` and `read`.
    """

    hidden_size: int
    blocks: int
    bias: bool

    @final
    @property
    def output_size(self) -> int:
        return self.hidden_size

    @final
    @property
    def form(self) -> Linear:
        return Linear(lambda params, u: self.coefficients(u), gates=self._gates)

    @abc.abstractmethod
    def gates(self, u: Any) -> dict[str, Array]:
        """Returns the gates by name, each within [0, 1]."""

    @abc.abstractmethod
    def coefficients(self, u: Any) -> tuple[HiddenState, HiddenState]:
        """Returns the factor and the addend of the state."""

    def init(
        self, key: PRNGKey, input_size: int, dtype: DType = float
    ) -> InputGatedParams:
        """Draws Glorot uniform weights and a zero bias."""
        input_size = checks.integer("input_size", input_size, 1)
        draw = initializers.glorot_uniform
        w_x = [
            draw(k, input_size, self.hidden_size, 1, dtype)
            for k in checks.split_key(key, self.blocks)
        ]
        b_x = jnp.zeros(self.blocks * self.hidden_size, dtype) if self.bias else None
        return InputGatedParams(jnp.concatenate(w_x, axis=-1), b_x)

    @final
    def initial_state(
        self, params: InputGatedParams, batch_shape: Shape = ()
    ) -> HiddenState:
        """Returns zeros of shape [*batch_shape, H]."""
        return HiddenState(zeros(params.w_x, *batch_shape, self.hidden_size))

    @final
    def project(
        self, params: InputGatedParams, x: Array, *, key: PRNGKey | None = None
    ) -> Gates:
        """Maps inputs [..., F] to blocks, each [..., H]."""
        del key
        return split(affine(x, params.w_x, params.b_x), self.blocks)

    def _gates(self, params: Any, state: Any, u: Any) -> dict[str, Array]:
        del params, state
        return self.gates(u)
