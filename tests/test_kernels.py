"""Kernels equal the scan: {cells, wrapped cells} x {kernels}, values and gradients."""

import functools
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn import forms, kernels
from jrnn.kernels import Gated, Layout, Linear
from jrnn.kernels.pallas import platforms
from jrnn.testing import weighted_sum
from tests.cases import CASES, B, F, assert_close
from tests.gpu_emulator import emulate
from tests.kernel_cases import (
    CHUNK,
    LONG,
    SHORT,
    SITUATIONS,
    BlockDiagonal,
    long_setting,
    replace_cudnn,
)

KERNELS = {
    "gated": SHORT,
    "gated, recomputed": Gated(Layout(CHUNK, save=False)),
    "gated, joint": Gated(Layout(CHUNK, joint=True, packed=True, unroll=3)),
    "linear": Linear("scan"),
    "linear, associative": Linear("associative"),
    "linear, chunk": Linear("chunk"),
    "pallas": kernels.Pallas(),
    "pallas, for a GPU": kernels.Pallas(memory=2**30),  # compiled for no other test
    "cudnn": kernels.CuDNN(),
}
TOLERANCE = {"cudnn": 1e-5}  # computes in float32


NOT_ON_A_GPU = (  # what is not elementwise between the units of a gate
    jrnn.LayerNormLSTM,
    jrnn.LayerNormGRU,
    jrnn.LayerNormed,
    jrnn.ProjectedGRU,
    jrnn.CoRNN,
)


def reads_its_input(cell):
    """Whether a cell multiplies its input as it is by the matrix of its form."""
    known = getattr(cell.form, "inputs", None) is not None
    return known and not isinstance(cell, jrnn.InputDropout)


def runs(name, cell, options, flags):
    """Whether a kernel computes a cell in a situation."""
    form = cell.form
    if name.startswith("linear"):
        return isinstance(form, forms.Linear)
    if name == "cudnn":
        usual = jrnn.LSTM(4, bias=cell.bias) if isinstance(cell, jrnn.LSTM) else None
        return cell == usual and not {"mask", "reset"} & flags.keys()
    if name == "gated, joint":
        return reads_its_input(cell)
    if name.startswith("pallas"):
        plain = isinstance(form, forms.Gated) and form.around is forms.directly
        plain = plain and cell.feature_axes == 1
        return plain and not (name != "pallas" and isinstance(cell, NOT_ON_A_GPU))
    return isinstance(form, forms.Gated)


# A cell of each kind of form, which meets the chunked kernels in all situations.
REPRESENTATIVE = (jrnn.LSTM, jrnn.GRU, jrnn.ConvLSTM, jrnn.Zoneout, jrnn.LRU, jrnn.QRNN)
HARDEST = "reverse, lengths, reset"
WHOLE = "JRNN_WHOLE" in os.environ


def matrix():
    """Every kernel with every cell that it computes, in one situation or in more.

    The kernels of one cell share a situation, and so the scan that they are compared
    with; the next cell takes the next situation. The first cell of each class meets
    the chunked kernels in the hardest situation, too, and a representative cell in
    all. A brief case, and another cell of a class, take the next one of the layouts of
    the gated kernel and of the pallas kernels. JRNN_WHOLE=1 tests every situation of
    every class, and every kernel of every cell that is not brief.
    """
    seen = set()
    for number, case in enumerate(CASES):
        first = type(case.cell) not in seen
        seen.add(type(case.cell))
        for name in kernels_of(case, number, first or WHOLE):
            fits = [
                situation
                for situation, (options, flags) in SITUATIONS.items()
                if runs(name, case.cell, options, flags)
            ]
            chosen = fits[number % max(len(fits), 1) :][:1]
            if name in ("gated", "linear") and first and not case.brief:
                whole = WHOLE or isinstance(case.cell, REPRESENTATIVE)
                chosen = fits if whole else sorted({*chosen, HARDEST} & {*fits})
            for situation in chosen:
                yield pytest.param(
                    case, name, situation, id=f"{name}-{situation}-{case}"
                )


def kernels_of(case, number, every):
    """Returns the names of all kernels, or with only one of each family."""
    layouts = [name for name in KERNELS if name.startswith("gated")]
    pallas = [name for name in KERNELS if name.startswith("pallas")]
    left_out = set()
    if case.brief or not every:
        left_out |= {*layouts} - {
            layouts[number % (3 if reads_its_input(case.cell) else 2)]
        }
    if case.brief:
        left_out.add("pallas, for a GPU")
    elif not every:
        left_out.add(pallas[1 - number % 2])
    return [name for name in KERNELS if name not in left_out]


@pytest.fixture(autouse=True)
def one_device(monkeypatch):
    """With one device, batch dimensions are flattened; tests of sharding have two."""
    monkeypatch.setattr(jax, "device_count", lambda: 1)


@pytest.fixture
def reference_of_cudnn(monkeypatch):
    """The reference of JAX's own tests, instead of a call that needs a GPU."""

    replace_cudnn(monkeypatch)


@pytest.mark.parametrize(("case", "name", "situation"), matrix())
def test_a_kernel_equals_the_scan(
    case, name, situation, reference_of_cudnn, monkeypatch
):
    if name == "pallas, for a GPU":
        monkeypatch.setattr(platforms, "interpreted", emulate)
    keyed = not isinstance(case.cell, jrnn.ConvLSTM) and "joint" not in name
    dtype = jnp.float32 if name == "cudnn" else jnp.float64
    how = case, situation, keyed, dtype
    expected = by_scan(*how)
    assert_close(computed(KERNELS[name], *how), expected, TOLERANCE.get(name, 1e-10))


@functools.lru_cache(maxsize=8)
def by_scan(*how):
    return computed("scan", *how)


def computed(method, case, situation, keyed, dtype):
    """Results, and the gradient of a loss; what is padded is NaN."""
    options, flags = SITUATIONS[situation]
    key = jax.random.key(7) if keyed else None

    @jax.jit
    def run(args, flags):
        def loss(args):
            how = {**options, **flags, "key": key, "method": method}
            result = jrnn.scan(case.cell, *args, **how)
            return weighted_sum(result), result

        return jax.value_and_grad(loss, has_aux=True)(args)

    with jax.enable_x64(dtype == jnp.float64):
        params, state, xs = long_setting(case.cell, dtype=dtype, features=case.features)
        valid = np.ones((len(xs), LONG), bool)
        if "lengths" in flags:
            valid &= np.arange(LONG) < np.asarray(flags["lengths"])[:, None]
        if "mask" in flags:
            valid &= np.asarray(flags["mask"])
        valid = valid.reshape(*valid.shape, *(1,) * (xs.ndim - 2))
        return run((params, state, np.where(valid, xs, np.nan).astype(dtype)), flags)


WRAPPERS = [
    lambda cell: cell,
    lambda cell: jrnn.Zoneout(cell, 0.2),
    jrnn.ResidualCell,
    jrnn.LearnedState,
    jrnn.LayerNormed,
    lambda cell: jrnn.WeightDrop(cell, 0.5),
    jrnn.MixedPrecision,
    lambda cell: jrnn.ClipCotangent(cell, norm=1.0),
    lambda cell: jrnn.ClipCotangent(jrnn.Zoneout(jrnn.ResidualCell(cell), 0.1), 1.0),
]


def chosen(cell):
    inputs = kernels.Inputs(jnp.ones((LONG, B, F)), None, None, None)
    return kernels.choose("auto", cell, inputs, kernels.Options())


@pytest.mark.parametrize("wrap", WRAPPERS)
def test_every_wrapper_keeps_the_kernel_of_a_gated_cell(wrap):
    for cell in (jrnn.LSTM(F), jrnn.GRU(F), jrnn.Elman(F), BlockDiagonal(4)):
        if cell.hidden_size == F or wrap is not jrnn.ResidualCell:
            if wrap is WRAPPERS[-1] and cell.hidden_size != F:
                continue
            if isinstance(cell, BlockDiagonal) and "WeightDrop" in repr(wrap(cell)):
                continue
            assert chosen(wrap(cell)) == Gated()


def test_wrappers_keep_the_kernel_of_a_linear_cell():
    lru = jrnn.LRU(F)
    inputs = kernels.Inputs(jnp.ones((LONG, B, F)), None, None, None)
    for cell in (jrnn.LearnedState(lru), jrnn.ResidualCell(lru)):
        assert Linear().refusal(cell, inputs, kernels.Options()) is None
        assert jrnn.LearnedState(cell).structure == "linear"
    for cell in (jrnn.MixedPrecision(lru), jrnn.WeightDrop(lru, 0.1, ("theta",))):
        assert Linear().refusal(cell, inputs, kernels.Options()) is None
    # What changes the two parts of a complex number apart is linear no longer.
    assert jrnn.Zoneout(lru, 0.1).structure == ("block", 2)
    assert jrnn.ClipCotangent(lru, 1.0).structure == "dense"


def test_a_cell_that_is_not_gated_is_refused_by_name():
    cell = jrnn.ResetBeforeGRU(4)
    params = cell.init(jax.random.key(0), F)
    for method in ("gated", SHORT):
        with pytest.raises(ValueError, match="jrnn.forms.Gated.*method='auto'"):
            jrnn.scan(cell, params, None, jnp.ones((B, 5, F)), method=method)


@pytest.mark.parametrize("method", [kernels.Gated, 3, jrnn.GRU(4)])
def test_what_is_no_kernel_is_refused(method):
    cell = jrnn.GRU(4)
    params = cell.init(jax.random.key(0), F)
    with pytest.raises(TypeError, match="method must be a name.*or a kernel"):
        jrnn.scan(cell, params, None, jnp.ones((B, 5, F)), method=method)
