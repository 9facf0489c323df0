"""Lists stand for arrays in losses, as they do in a scan."""

import jax.numpy as jnp
import pytest

from jrnn import training

LOGITS, LABELS = [[[1.0, 2.0], [0.0, 1.0]]], [[1, 0]]


@pytest.mark.parametrize(
    ("loss", "given"),
    [
        (training.mean_over_valid, ([[1.0, 3.0]],)),
        (training.cross_entropy, (LOGITS, LABELS)),
        (training.accuracy, (LOGITS, LABELS)),
        (training.squared_error, (LOGITS, [[[3, 1], [0, 2]]])),
    ],
)
def test_losses_take_lists(loss, given):
    mask = [[True, False]]
    assert loss(*given, mask) == loss(*map(jnp.asarray, given), jnp.asarray(mask))
    assert loss(*given) != loss(*given, mask)
    with pytest.raises(TypeError, match="mask must be boolean"):
        loss(*given, [[1, 0]])
