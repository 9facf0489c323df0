"""Trees as flat dictionaries of arrays: names of leaves, and errors about them."""

import jax
import jax.numpy as jnp
import pytest

import jrnn
from jrnn.storage import named_arrays
from tests.cases import F, H


def test_missing_and_unknown_leaves_are_named():
    params = jrnn.GRU(H).init(jax.random.key(0), F)
    named = named_arrays.flatten(params)
    named["w_y"] = named.pop("w_x")
    with pytest.raises(ValueError, match=r"\['w_x'\] are missing and \['w_y'\]"):
        named_arrays.unflatten(params, named)


def test_a_tree_with_one_leaf_has_a_name():
    assert list(named_arrays.flatten(jnp.ones(2))) == ["value"]
    assert named_arrays.unflatten(0, {"value": 3}) == 3
