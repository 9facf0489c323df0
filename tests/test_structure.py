"""What cells declare about their derivatives, and that a false claim is caught."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

import jrnn
from tests.cases import CASES, F, H, randomise

STRUCTURED = [case.cell for case in CASES if case.cell.structure != "dense"]


@pytest.mark.parametrize("cell", [*STRUCTURED, jrnn.LSTM(H)], ids=str)
def test_cells_do_what_they_declare(cell):
    params = randomise(cell.init(jax.random.key(0), F), 1)
    jrnn.check_structure(cell, params)


class Claims(jrnn.ParaGRU):
    """A diagonal cell that claims to be linear."""

    structure = "linear"


class ClaimsMore(jrnn.Elman):
    """A dense cell that claims to be diagonal."""

    structure = "diagonal"


class Transposed(jrnn.IndRNN):
    """A diagonal cell whose weights reach the next unit."""

    def project(self, params, x, *, key=None):
        return jnp.roll(super().project(params, x, key=key), 1, axis=-1)


class Coupled(jrnn.LRU):
    """Two coupled leaves, declared as not coupled."""

    structure = "diagonal"


class Miscounted(jrnn.LRU):
    """A pair, declared as a triple."""

    structure = ("block", 3)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (Claims(H), "depends on the state"),
        (ClaimsMore(H), "not coupled"),
        (Transposed(H, activation=jrnn.activations.tanh), "reach other units"),
        (Coupled(H), "not coupled"),
        (Miscounted(H), "leaves of one shape"),
    ],
    ids=str,
)
def test_a_false_claim_is_caught(cell, message):
    assert dataclasses.is_dataclass(cell)
    params = randomise(cell.init(jax.random.key(0), F), 1)
    with pytest.raises(ValueError, match=message):
        jrnn.check_structure(cell, params, input_size=F)
