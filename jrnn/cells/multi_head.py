"""Block-diagonal recurrent weights: heads of units that do not interact."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from jrnn import checks
from jrnn.cells.wrapper_base import Wrapper, require_gated
from jrnn.forms import BlockDiagonal, Form, Matmul
from jrnn.types import Cell, DType, Params, PRNGKey
from jrnn.values import value


@value
class MultiHead(Wrapper):
    """Splits the units of a gated cell into heads that do not interact in a layer [1].

        v[head] = h[head] w_h[head]        instead of  v = h Wh

    The recurrent weights `w_h` are [heads, H / heads, k*H / heads], a block-diagonal
    matrix with 1/heads of the entries; within a head the k gates lie side by side. Each
    block starts as the recurrent weights of a cell with H / heads units. The input
    weights are those of the cell.

    Attributes:
      cell: A cell with a field `hidden_size` whose recurrent map is one matrix `w_h`,
        such as `Elman`, `LSTM`, `GRU`, `MGU` or a `GatedCell`. Put other wrappers
        around this one.
      heads: The number of heads; it divides H.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.MultiHead(jrnn.LSTM(hidden_size=6), heads=2)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> state, ys = jrnn.scan(cell, params, None, jnp.ones((2, 5, 3)))
      >>> ys.shape, params.w_h.shape
      ((2, 5, 6), (2, 3, 12))

    References:
      [1] Pöppel et al., 2024, https://arxiv.org/abs/2412.07752
    """

    cell: Cell
    heads: int

    def __post_init__(self) -> None:
        super().__post_init__()
        require_gated(self, "splits the recurrent weights")
        fields = {field.name for field in dataclasses.fields(self.cell)}  # type: ignore[arg-type]
        if "hidden_size" not in fields:
            raise TypeError(
                f"MultiHead needs a cell with a field `hidden_size`, and {self.cell} "
                "has none. Put other wrappers around MultiHead."
            )
        checks.divides("heads", self.heads, "hidden_size", self.output_size)

    @property
    def form(self) -> Form:
        form: Any = self.cell.form
        return form._replace(
            recurrent=lambda params: BlockDiagonal(params.w_h),
            inputs=None,
            local=False,  # the last axis of a block is not that of all units
        )

    def init(self, key: PRNGKey, input_size: Any, dtype: DType = float) -> Params:
        """Draws the parameters of the cell, and blocks for its recurrent weights.

        Raises:
          TypeError: if the recurrent map of the cell is not the matrix `w_h`.
        """
        key, key_h = checks.split_key(key)
        params = self.cell.init(key, input_size, dtype)
        form: Any = self.cell.form
        if not isinstance(form.recurrent(params), Matmul):
            raise TypeError(
                f"MultiHead needs a cell whose recurrent map is a `jrnn.forms.Matmul`, "
                f"unlike {self.cell}."
            )
        checks.one_of("the recurrent weights of MultiHead", "w_h", params._fields)
        shape = params.w_h.shape
        if len(shape) != 2 or shape[0] != self.output_size:
            raise TypeError(
                f"MultiHead needs recurrent weights w_h [H, k*H], but those of "
                f"{self.cell} have the shape {list(shape)}. Wrap an `LSTM`, a `GRU` or "
                "an `Elman` network."
            )
        small = self._head()
        blocks = [
            small.init(key, input_size, dtype).w_h
            for key in jax.random.split(key_h, self.heads)
        ]
        return params._replace(w_h=jnp.stack(blocks))

    def _head(self) -> Any:
        """Returns a cell with the units of one head, to draw recurrent weights.

        Its gate biases are not used. They are not drawn, because that may need more
        units than a head has.
        """
        cell: Any = self.cell
        fields = {field.name for field in dataclasses.fields(cell)}
        plain = {"forget_bias": 0.0} if "forget_bias" in fields else {}
        size = self.output_size // self.heads
        return dataclasses.replace(cell, hidden_size=size, **plain)
