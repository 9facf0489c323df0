"""What cells declare about their derivatives, and that a false claim is caught."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

import jrnn
from jrnn.cells import Wrapper
from jrnn.forms import Plain
from jrnn.values import value
from tests.cases import CASES, Case, F, H, randomise, shapes

STRUCTURED = [case for case in CASES if case.cell.structure != "dense"]


@pytest.mark.parametrize("case", [*STRUCTURED, Case(jrnn.LSTM(H), None)], ids=str)
def test_cells_do_what_they_declare(case):
    cell, (size,) = case.cell, case.features
    dtype = jnp.float64 if isinstance(cell, jrnn.MixedPrecision) else None
    with jax.enable_x64(dtype is not None):
        params = randomise(shapes(cell, size), 1, dtype)
        jrnn.check_structure(cell, params, input_size=size)


@value
class Claims(Wrapper):
    """A cell that claims another form than it has."""

    cell: jrnn.Cell
    structure_claimed: object
    local: bool = True

    @property
    def form(self):
        return Plain(self.cell.step, self.structure_claimed, local=self.local)


@value
class Transposed(Wrapper):
    """A diagonal cell whose weights reach the next unit."""

    cell: jrnn.Cell

    def project(self, params, x, *, key=None):
        u = self.cell.project(params, x, key=key)
        return jax.tree.map(lambda a: jnp.roll(a, 1, axis=-1), u)


TANH = jrnn.activations.tanh


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (Claims(jrnn.ParaGRU(H), "linear"), "depends on the state"),
        (Claims(jrnn.Elman(H), "diagonal"), "declares independent"),
        (Transposed(jrnn.IndRNN(H, activation=TANH)), "reach other units"),
        (Transposed(jrnn.LSTM(H)), "reach other units"),
        (Claims(jrnn.LRU(H), "diagonal"), "declares independent"),
        (Claims(jrnn.LRU(H), ("block", 3)), "leaves of one shape"),
    ],
    ids=str,
)
def test_a_false_claim_is_caught(cell, message):
    assert dataclasses.is_dataclass(cell)
    params = randomise(shapes(cell, F), 1)
    with pytest.raises(ValueError, match=message):
        jrnn.check_structure(cell, params, input_size=F)
