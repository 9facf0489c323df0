"""Cells with several outputs: a tree of arrays instead of one."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from tests.cases import B, F, H, T, assert_close, randomise, shapes

XS = randomise(np.zeros((B, T, F)), 3, scale=1.0)


class Parts(NamedTuple):
    """Two outputs of different shapes."""

    h: jax.Array  # [..., H]
    pair: tuple[jax.Array, ...]  # [..., 2] and [...]


@jrnn.value
class Several(jrnn.cells.Wrapper):
    """A GRU that returns a tree."""

    cell: jrnn.Cell

    def read(self, params, state, u):
        return Parts(state.h, (state.h[..., :2] ** 2, jnp.sum(state.h, axis=-1)))


@pytest.mark.parametrize("method", ["scan", "gated"])
@pytest.mark.parametrize("reverse", [False, True])
def test_the_output_of_a_cell_may_be_a_tree(method, reverse):
    cell = Several(jrnn.GRU(H))
    params = randomise(shapes(jrnn.GRU(H), F), 1)
    mask = np.array([[0, 1, 1, 0, 1, 1, 0], [0, 0, 0, 0, 0, 0, 0]], bool)
    several = lambda h: Parts(h, (h[..., :2] ** 2, np.sum(h, axis=-1)))
    for flags in ({"lengths": np.array([3, 0])}, {"mask": mask}, {}):
        options = {**flags, "reverse": reverse, "method": method}

        @jax.jit
        def runs(params, options=options):
            plain = jrnn.scan(jrnn.GRU(H), params, None, XS, **options)
            how = options | {"return_sequence": False}
            last = jrnn.scan(cell, params, None, XS, **how)[1]
            run = lambda p: jrnn.scan(cell, p, None, XS, **options)
            slope = jax.grad(lambda p: jnp.sum(run(p)[1].h))(params)
            return plain, run(params), last, slope

        (final, hs), actual, last, slope = runs(params)
        assert_close(actual, (final, several(np.asarray(hs))))
        h = np.asarray(final.h) * (1 if flags == {} else np.array([[1.0], [0.0]], "f"))
        assert_close(last, several(h))
        assert all(np.any(leaf) for leaf in jax.tree.leaves(slope))
    held = jrnn.scan(cell, params, None, XS, mask=mask, at_padding="hold")[1]
    wanted = jrnn.scan(jrnn.GRU(H), params, None, XS, mask=mask, at_padding="hold")[1]
    assert_close(held.h, wanted)
    empty = jrnn.scan(cell, params, None, XS[:, :0], return_sequence=False)[1]
    assert_close(empty, jax.tree.map(lambda a: jnp.zeros_like(a[:, 0]), held))
