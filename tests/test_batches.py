"""A batch on several devices: the same loss and gradient as on one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn import training
from jrnn.training.batches import BatchSplit, replicate
from tests.cases import randomise

B, T, F = 5, 4, 3
MODEL = jrnn.Sequential(
    jrnn.Embed(7, F), jrnn.Dropout(0.2), jrnn.Recurrent(jrnn.GRU(6)), jrnn.Dense(7)
)


def mesh_of(number, kind):
    kinds = jax.sharding.AxisType
    return jax.make_mesh((number,), ("batch",), axis_types=(getattr(kinds, kind),))


def loss(params, xs, ys, mask, key):
    _, logits = MODEL.apply(params, None, xs, key=key)
    valid = jnp.broadcast_to(mask[:, None], ys.shape)
    return training.cross_entropy(logits, ys, valid)


@pytest.mark.parametrize("kind", ["Auto", "Explicit"])
@pytest.mark.parametrize("rows", [B, B + 1])
def test_two_devices_agree_with_one(kind, rows):
    """The key draws another mask for a padded batch, so only a whole one has a key."""
    rng = np.random.default_rng(rows)
    xs, ys = rng.integers(0, 7, (2, rows, T)).astype(np.int32)
    params = randomise(jax.eval_shape(lambda: MODEL.init(jax.random.key(0), F)), 1)
    key = jax.random.key(3) if rows % 2 == 0 else None
    want = jax.jit(jax.value_and_grad(loss))(params, xs, ys, np.ones(rows, bool), key)
    mesh = mesh_of(2, kind)
    split = BatchSplit(rows, mesh)
    assert split.own.tolist() == [*range(rows)] and split.rows == 6
    with jax.set_mesh(mesh):
        (xs, ys), mask = split.place((xs, ys))
        assert mask.tolist() == rows * [True] + (6 - rows) * [False]
        params, key = replicate((params, key), mesh)
        got = jax.jit(jax.value_and_grad(loss))(params, xs, ys, mask, key)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_wrong_rows_and_axes_are_refused():
    split = BatchSplit(B, mesh_of(2, "Auto"))
    with pytest.raises(ValueError, match=r"batch\['x'\] must have the 5 rows.*\[4\]"):
        split.place({"x": np.zeros(4)})
    with pytest.raises(ValueError, match="axis must be one of .*got 'rows'"):
        BatchSplit(B, mesh_of(2, "Auto"), axis="rows")
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        BatchSplit(0, mesh_of(2, "Auto"))
