"""What cells do with inputs: one product for all gates, which then part.

Gates that part before the loop over time are read from memory as they lie. Parted in
every step of it, they are read in pieces, and XLA does not vectorise that on CPU.
"""

import jax.numpy as jnp

from jrnn import checks
from jrnn.types import Array

Gates = tuple[Array, ...]  # each [..., H]


def affine(x: Array, w_x: Array, *biases: Array | None) -> Array:
    """Returns inputs [..., F] times `w_x` [F, K], plus the biases that are not None.

    Raises:
      ValueError: if the sizes do not fit.
    """
    checks.last_axis("xs", x, w_x.shape[0])
    u = x @ w_x
    for bias in biases:
        u = u if bias is None else u + bias
    return u


def split(gates: Array, number: int) -> Gates:
    """Parts gates that lie side by side along the last axis."""
    return tuple(jnp.split(gates, number, axis=-1))
