"""Files of parameters, and trees restored from named arrays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn.interop import files
from jrnn.storage import named_arrays
from tests.cases import randomise


def test_parameters_come_back_with_their_configuration(tmp_path):
    path = tmp_path / "model.safetensors"
    cell = jrnn.Bidirectional(jrnn.LSTM(5))
    shapes = jax.eval_shape(lambda: cell.init(jax.random.key(0), 3))
    params = randomise(shapes, 1)
    files.save(path, params, {"size": 5})
    again, config = files.load(path, shapes)
    assert config == {"size": 5}
    assert jax.tree.structure(again) == jax.tree.structure(params)
    jax.tree.map(np.testing.assert_array_equal, again, params)


def test_a_tree_of_every_kind_of_leaf_comes_back():
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spread = jax.NamedSharding(mesh, jax.P("data"))
    tree = {
        "key": jax.random.key(3),
        "step": 3,
        "numpy": np.arange(3),
        "half": jnp.ones(2, jnp.bfloat16),
        "none": None,
        "rows": (jax.device_put(jnp.arange(4.0), spread),),
    }
    again = files.restore(tree, named_arrays.flatten(tree))
    assert jax.tree.structure(again) == jax.tree.structure(tree)
    assert jax.random.uniform(again["key"]) == jax.random.uniform(tree["key"])
    assert again["step"] == 3 and type(again["step"]) is int
    assert again["rows"][0].sharding == spread and again["half"].dtype == jnp.bfloat16
    again["numpy"][0] = 5  # its own memory, and writable


def test_each_leaf_is_set_exactly_once():
    template = {"a": np.zeros(2, np.float32), "b": (np.zeros(3, np.float32),)}
    good = named_arrays.flatten(template)
    assert sorted(good) == ["a", "b.0"]
    wrong = {
        "\\['b.0'\\] are missing": {"a": good["a"]},
        "\\['c'\\] are unknown": {**good, "c": good["a"]},
        "b.0 must have shape \\[3\\], got \\[2\\]": {**good, "b.0": good["a"]},
        "a must be float32, got float64": {**good, "a": good["a"].astype(float)},
    }
    for message, arrays in wrong.items():
        with pytest.raises(files.FileError, match=message):
            files.restore(template, arrays)
    cast = files.restore(template, wrong["a must be float32, got float64"], cast=True)
    assert cast["a"].dtype == np.float32
    with pytest.raises(ValueError, match="one name"):
        named_arrays.flatten({"a.b": np.zeros(1), "a": {"b": np.zeros(1)}})
