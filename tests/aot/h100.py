"""Compiles gradients for an H100 without a GPU: see `experiments.targets` for how.

    PYTHONPATH=WHEELS JAX_PLATFORMS=cpu python -m pytest -n0 -m slow tests/aot
    PYTHONPATH=WHEELS JAX_PLATFORMS=cpu python -m tests.aot

The first runs the tests, the second prints a table.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen

import jrnn
from experiments import targets
from experiments.targets import Program


def gradient(
    cell: Any,
    method: Any = "auto",
    sizes: tuple[int, int, int] = (128, 32, 64),
    dtype: str = "float32",
    reset: bool = False,
    **how: Any,
) -> Program:
    """Compiles a value with its gradients, of parameters and inputs.

    Args:
      cell: What to run; a cell of jrnn, or of Flax.
      method: The method of `jrnn.scan`.
      sizes: Time, batch, input features.
      dtype: Of parameters and inputs.
      reset: Whether there are flags of restarts.
      **how: Other options of `jrnn.scan`.
    """
    time, batch, features = sizes
    xs = jax.ShapeDtypeStruct((batch, time, features), dtype)
    flags = jnp.zeros((batch, time), bool) if reset else None
    if isinstance(cell, linen.RNNCellBase):
        params = jax.eval_shape(linen.RNN(cell).init, jax.random.key(0), xs)
    else:
        params = jax.eval_shape(
            functools.partial(cell.init, input_size=features, dtype=dtype),
            jax.random.key(0),
        )

    def loss(params: Any, xs: Any, flags: Any) -> jax.Array:
        if isinstance(cell, linen.RNNCellBase):
            ys = linen.RNN(cell).apply(params, xs)
        else:
            given = {"method": method, "reset": flags, **how}
            ys = jrnn.scan(cell, params, None, xs, **given)[1]
        return jnp.sum(ys.astype("float32"))

    both = jax.value_and_grad(loss, argnums=(0, 1))
    return targets.compiled("h100", both, params, xs, flags)
