"""How the gated kernel lays out one step in memory, chosen from static shapes."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn.kernels.plain import Inputs
from jrnn.types import Array, GatedCell, Params

ROWS = 1024  # examples times steps that are differentiated at once
LEAST, MOST = 16, 256  # steps of them
WIDE = 256  # units from which columns pay
MANY = 8  # examples from which they do


class Layout(NamedTuple):
    """A choice, and the moves between it and [*batch, features]."""

    chunk: int  # steps that are differentiated at once
    ahead: int  # steps that are projected at once
    columns: bool = False  # the state of an example is a column of [features, batch]

    def inside(self, tree: Any, axis: int = 0) -> Any:
        """Moves the batch axis from `axis` to where loops have it."""
        return (
            jax.tree.map(lambda a: jnp.moveaxis(a, axis, -1), tree)
            if self.columns
            else tree
        )

    def outside(self, tree: Any, axis: int = 0) -> Any:
        """Moves the batch axis back to `axis`."""
        return (
            jax.tree.map(lambda a: jnp.moveaxis(a, -1, axis), tree)
            if self.columns
            else tree
        )

    def batched(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """Returns a function of one example, or of any batch, for the batch inside."""
        return jax.vmap(step, in_axes=-1, out_axes=-1) if self.columns else step

    def product(self, kernel: Array) -> Callable[[Array], Array]:
        """Returns the product of a state with the kernel [H, K]."""
        if not self.columns:
            return lambda h: h @ kernel
        transposed = kernel.T  # once, outside of the loop
        return lambda h: transposed @ h

    def tangent_product(self, kernel: Array) -> Callable[[Array], Array]:
        """Returns the same product, in the form whose transpose is fast.

        A loop that contracts the leading axis of its matrix takes four times as long.
        """
        if not self.columns:
            return lambda h: h @ kernel
        leading = (((0,), (0,)), ((), ()))
        return lambda h: jax.lax.dot_general(kernel, h, leading)


def choose(cell: GatedCell, params: Params, inputs: Inputs) -> Layout:
    """Chooses by the sizes of the batch and of the recurrent kernel.

    Milliseconds of processor time for the gradient of an LSTM's parameters, float32, on
    two cores of an x86-64 with AVX-512; time, batch, inputs and units in the first
    column, and Flax's `OptimizedLSTMCell` in the last.

    | sizes             | rows | columns | Flax |
    |-------------------|------|---------|------|
    | 128, 16, 256, 512 |  290 |     261 |  459 |
    | 128, 64, 64, 256  |  325 |     314 |      |
    | 64, 8, 128, 256   |   21 |      20 |      |

    Rows are the matrix on the left of the product with the kernel, and XLA packs the
    kernel, on its right, in every step. Columns put the kernel on the left. They need
    vectors of at least a register's length along the batch.

    Chunks hold about a thousand rows: at 256, 1, 128, 256 the gradient takes 12.5 ms in
    chunks of 256 steps, 13.8 in chunks of 32 and 24.2 in Flax.

    A batch is projected step by step, as that reads and writes least: at 100, 128, 28,
    128 values take 30 ms so, 53 in chunks of 16 steps, 85 all at once and 30 in Flax;
    at 128, 32, 128, 128 they take 13, 19, 20 and 14. Few examples are projected ahead.

    On accelerators nothing is measured: there all steps are projected at once, and
    differentiated at once, as few large products.
    """
    shape = jax.tree.leaves(inputs.xs)[0].shape
    time, batch = shape[0], shape[1:-1]
    explicit = meshed(jax.sharding.AxisType.Explicit)  # such arrays cannot be cut
    if explicit or jax.default_backend() != "cpu":
        return Layout(chunk=time, ahead=time)
    size = cell.recurrent_kernel(params).shape[0]
    number = math.prod(batch)
    chunk = _divisor(time, min(max(ROWS // max(number, 1), LEAST), MOST))
    ahead = 1 if number >= MANY else MOST
    masked = inputs.keys is not None  # parameters may hold masks with a batch axis
    if masked or len(batch) != 1:
        return Layout(chunk, ahead)
    return Layout(chunk, ahead, columns=size >= WIDE and number >= MANY)


def _divisor(time: int, size: int) -> int:
    """Returns a size near the one given that leaves no rest, if there is one."""
    near = [number for number in range(size, size // 2, -1) if time % number == 0]
    return near[0] if near else size


def meshed(*kinds: jax.sharding.AxisType) -> bool:
    """Whether a mesh with axes of one of these kinds is in use."""
    types = jax.sharding.get_abstract_mesh().axis_types
    return any(kind in kinds for kind in types)
