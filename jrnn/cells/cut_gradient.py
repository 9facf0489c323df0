"""A cut of the gradient on the recurrent path."""

from typing import Any

import jax

from jrnn.cells.wrapper_base import Wrapper, require_gated
from jrnn.forms import Gated
from jrnn.types import Cell
from jrnn.values import value


@value
class CutRecurrentGradient(Wrapper):
    """Stops the gradient through the recurrent matmul of a cell.

        forward      v = h Wh
        backward     dh from the matmul is zero; the gradient of Wh stays

    Gradients still flow along the other paths from state to state: the memory of an
    LSTM, the update z h of a GRU. These paths contain no weights that could make
    gradients explode. An `Elman` network has no other path, so it learns as with
    truncation after one step. Tangents in forward mode are cut too. The result is not
    the gradient of the loss. In FlashRNN [1], this is the option
    `gradient_recurrent_cut`.

    Attributes:
      cell: A cell whose form is gated: `Elman`, `LSTM`, `GRU`, `ConvLSTM`, ...; values
        are unchanged.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.CutRecurrentGradient(jrnn.LSTM(hidden_size=4))
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> state, ys = jrnn.scan(cell, params, None, jnp.ones((2, 5, 3)))
      >>> loss = lambda s: jrnn.scan(cell, params, s, jnp.ones((2, 5, 3)))[1].sum()
      >>> slope = jax.grad(loss)(state)
      >>> bool((slope.h == 0).all()), bool((slope.c != 0).all())
      (True, True)

    References:
      [1] Pöppel et al., 2024, https://arxiv.org/abs/2412.07752
    """

    cell: Cell

    def __post_init__(self) -> None:
        super().__post_init__()
        require_gated(self, "cuts the gradient of the recurrent matmul")

    @property
    def form(self) -> Gated:
        form: Any = self.cell.form
        return form._replace(
            hidden=lambda state: jax.lax.stop_gradient(form.hidden(state))
        )
