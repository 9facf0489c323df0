"""A cell with arrays to run it on, and comparisons of trees."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jrnn import checks
from jrnn.scanning import scan
from jrnn.types import Array, Cell, Params, State
from jrnn.values import value

B, T = 2, 7  # rows and time steps


@value
class Subject:
    """A cell, and arrays to run it on: no entry of them is zero.

    Attributes:
      cell: The cell to check.
      params: Its parameters.
      state: A state [B, ...].
      xs: Inputs [B, T, *features].

    Example:
      >>> import jrnn
      >>> subject = make_subject(jrnn.GRU(hidden_size=4), 3, dtype=np.float32)
      >>> state, ys = subject.run()
      >>> ys.shape
      (2, 7, 4)
    """

    cell: Cell
    params: Params
    state: State
    xs: Array

    def run(self, *args: Any, **options: Any) -> Any:
        """Scans the inputs, or what is given instead of (params, state, xs)."""
        return scan(self.cell, *(args or (self.params, self.state, self.xs)), **options)

    def gradient(self, *args: Any, **options: Any) -> Any:
        """Returns outputs, and the gradient of a loss in params, state and inputs."""

        def loss(args: Any) -> tuple[Array, Any]:
            out = self.run(*args, **options)
            return weighted_sum(out), out

        slope = jax.jit(jax.grad(loss, has_aux=True))
        grads, out = slope(args or (self.params, self.state, self.xs))
        return out, grads


def make_subject(
    cell: Cell,
    input_size: int | tuple[int, ...],
    *,
    params: Params | None = None,
    state: State | None = None,
    dtype: Any = jnp.float64,
) -> Subject:
    """Returns a cell with random parameters, state and inputs.

    Example:
      >>> import jrnn
      >>> make_subject(jrnn.GRU(hidden_size=4), 3, dtype=np.float32).state.h.shape
      (2, 4)
    """
    features = checks.sizes("input_size", input_size)
    size = features if len(features) > 1 else features[0]
    if params is None:
        params = randomize(cell.init(jax.random.key(0), size), 1, dtype)
    if state is None:
        state = randomize(cell.initial_state(params, (B,)), 2, dtype)
    xs = randomize(np.zeros((B, T, *features)), 3, dtype, scale=1.0)
    return Subject(cell, params, state, xs)


def randomize(tree: Any, seed: int, dtype: Any = None, scale: float = 0.5) -> Any:
    """Replaces every floating-point leaf by normal draws: no entry is zero.

    Example:
      >>> bool((randomize({"w": jnp.zeros(3)}, seed=0)["w"] != 0).all())
      True
    """
    leaves, structure = jax.tree.flatten(tree)
    rng = np.random.default_rng(seed)
    draws = []
    for leaf in leaves:
        drawn = scale * rng.standard_normal(leaf.shape)
        if jnp.issubdtype(leaf.dtype, jnp.floating):
            leaf = jax.device_put(drawn.astype(dtype or leaf.dtype))
        draws.append(leaf)
    return jax.tree.unflatten(structure, draws)


def weighted_sum(tree: Any) -> Any:
    """Returns a loss with a different weight for every output and state.

    Example:
      >>> round(float(weighted_sum([jnp.ones(2)])), 4)  # cos 1 + cos 2
      0.1242
    """
    total: Any = 0.0
    for leaf in jax.tree.leaves(tree):
        weights = np.cos(np.arange(leaf.size) + 1.0).reshape(leaf.shape)
        total = total + (leaf * weights).sum()
    return total


def assert_close(
    actual: Any, expected: Any, tolerance: float = 1e-10, what: str = "the result"
) -> None:
    """Raises unless two trees have one structure and equal leaves within rounding.

    Example:
      >>> assert_close({"h": jnp.ones(3)}, {"h": jnp.ones(3)})
      >>> assert_close(jnp.ones(3), jnp.zeros(3))
      Traceback (most recent call last):
      AssertionError: ...
    """
    structures: Any = jax.tree.structure(actual), jax.tree.structure(expected)
    assert structures[0] == structures[1], f"{what} has another structure: {structures}"
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path(actual),
        jax.tree.leaves(expected),
        strict=True,
    ):
        name = f"{what}{jax.tree_util.keystr(path)}"
        np.testing.assert_allclose(
            np.asarray(a),
            np.asarray(b),
            tolerance,
            tolerance,
            err_msg=f"{name} differs",
        )
