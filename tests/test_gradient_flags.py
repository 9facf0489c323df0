"""Which flags gradient methods take, and what kernels learn from them."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn.training import TBPTT, squared_error, value_and_grad
from tests.cases import assert_close, randomise, shapes

T, B, F, H = 7, 2, 3, 4


@jrnn.value
class OnlyRightPadded:
    """The plain scan, which refuses padding that may be anywhere."""

    def refusal(self, cell: Any, inputs: Any, options: Any) -> str | None:
        del cell, inputs
        return None if options.right_padded else "needs lengths"

    def run(self, cell: Any, loop: Any, options: Any) -> Any:
        return jrnn.kernels.Scan().run(cell, loop, options)


def test_backpropagation_tells_kernels_that_padding_is_at_the_end():
    layer = jrnn.Recurrent(jrnn.GRU(H), method=OnlyRightPadded())
    params = randomise(shapes(layer.cell, F), 0)
    xs, targets = jnp.ones((B, T, F)), jnp.ones((B, T, H))
    gradient = value_and_grad(layer, squared_error)
    _, by_lengths = gradient(params, None, xs, targets, lengths=jnp.array([T, 2]))
    mask = np.arange(T) < np.array([[T], [2]])
    plain = value_and_grad(jrnn.Recurrent(layer.cell), squared_error)
    _, by_mask = plain(params, None, xs, targets, mask=mask.tolist())  # lists, too
    assert_close(by_lengths, by_mask, 1e-6)
    with pytest.raises(ValueError, match="needs lengths"):
        gradient(params, None, xs, targets, mask=mask)


def test_truncated_gradients_take_resets_in_lists():
    cell = jrnn.GRU(H)
    params = randomise(shapes(cell, F), 0)
    xs, targets = jnp.ones((B, T, F)), jnp.ones((B, T, H))
    reset = np.arange(T) == np.array([[3], [5]])
    gradient = value_and_grad(cell, squared_error, TBPTT(2, 3))
    lists = gradient(params, None, xs, targets, reset=reset.tolist())
    assert_close(lists, gradient(params, None, xs, targets, reset=reset), 0)
    with pytest.raises(
        ValueError, match=r"reset must be .* \[2, 7\] like xs, got \[7\]"
    ):
        gradient(params, None, xs, targets, reset=reset[0])
