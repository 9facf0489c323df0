"""Where the steps of a recurrence lie: on one device, or split over a mesh axis.

If they are split, every device computes its own piece from zeros, as one composed step.
The devices exchange these, D states and factors in all, compute the state that each
piece begins from, and each computes its piece once more.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import AxisType, PartitionSpec

from jrnn.kernels.recurrence import orders
from jrnn.kernels.recurrence.orders import Steps, seen
from jrnn.kernels.recurrence.rings import Planes, Ring
from jrnn.numerics import shift
from jrnn.types import Array
from jrnn.values import value

Run = Callable[[Steps], Planes]  # all states from zeros


@value
class Whole:
    """All steps lie on one device, or are split as the compiler likes."""

    def shift(self, first: Any, after: Any, reverse: bool = False) -> Any:
        """Returns what precedes each step: `jrnn.numerics.shift`."""
        return shift(first, after, reverse)

    def begin(self, first: Any, otherwise: Any, reverse: bool = False) -> Any:
        """Returns `first` where the first step of all lies, else `otherwise`."""
        del otherwise, reverse
        return first

    def largest(self, number: Array) -> Array:
        """Returns the largest of the numbers of all devices."""
        return number

    def join(self, ring: Ring, steps: Steps, reverse: bool, run: Run) -> Planes:
        """Computes all states from zeros."""
        del ring, reverse
        return run(steps)

    def pass_on(self, state: Any, run: Callable[[Any], Any], reverse: bool) -> Any:
        """Runs pieces one after the other, each from the last state before it."""
        del reverse
        return run(state)


@value
class Split:
    """Steps are split over a mesh axis, inside of `jax.shard_map`."""

    axis: str

    def shift(self, first: Any, after: Any, reverse: bool = False) -> Any:
        """Returns what precedes each step: one state comes from the device before."""
        last = jax.tree.map(lambda leaf: leaf[0 if reverse else -1], after)
        return shift(
            self.begin(first, self._before(last, reverse), reverse), after, reverse
        )

    def begin(self, first: Any, otherwise: Any, reverse: bool = False) -> Any:
        """Returns `first` where the first step of all lies, else `otherwise`."""
        begins = self._position(reverse) == 0
        choose = lambda a, b: jnp.where(begins, a, b)  # noqa: E731
        return jax.tree.map(choose, first, otherwise)

    def largest(self, number: Array) -> Array:
        """Returns the largest of the numbers of all devices; NaN if one of them is."""
        unknown = lax.pmax(jnp.isnan(number).astype(number.dtype), self.axis)
        return jnp.where(unknown > 0, jnp.nan, lax.pmax(number, self.axis))

    def join(self, ring: Ring, steps: Steps, reverse: bool, run: Run) -> Planes:
        """Computes all states from zeros."""
        piece = orders.total(ring, steps, reverse)
        pieces = lax.all_gather(piece, self.axis)
        ends = orders.scan(ring, pieces, reverse)
        zeros = jax.tree.map(lambda leaf: jnp.zeros_like(leaf[0]), ends)
        starts = shift(zeros, ends, reverse)
        start = jax.tree.map(lambda leaf: leaf[lax.axis_index(self.axis)], starts)
        return run(started(ring, steps, start, reverse))

    def pass_on(self, state: Any, run: Callable[[Any], Any], reverse: bool) -> Any:
        """Runs pieces one after the other, each from the last state before it.

        All devices run at all times, and what they compute too early is dropped.
        """
        last = 0 if reverse else -1

        def again(_: Any, begun: Any) -> Any:
            ended = jax.tree.map(lambda leaf: leaf[last], run(begun))
            return self.begin(state, self._before(ended, reverse), reverse)

        varying = self.begin(state, state)  # the same, of the type of what follows
        rounds = lax.axis_size(self.axis) - 1
        return run(lax.fori_loop(0, rounds, again, varying))

    def _position(self, reverse: bool) -> Array:
        """Returns how many pieces precede that of this device."""
        index = lax.axis_index(self.axis)
        return lax.axis_size(self.axis) - 1 - index if reverse else index

    def _before(self, leaf: Any, reverse: bool) -> Any:
        """Returns the leaf of the device before; zeros on the first."""
        size = lax.axis_size(self.axis)
        ahead = [(i, i + 1) for i in range(size - 1)]
        pairs = [(b, a) for a, b in ahead] if reverse else ahead
        return lax.ppermute(leaf, self.axis, pairs)


Place = Whole | Split


def started(ring: Ring, steps: Steps, h0: Planes, reverse: bool) -> Steps:
    """Adds what the state before the first step contributes to its addend.

    It is padded to a sum, because the gradient of an update in place copies everything.
    """
    first = -1 if reverse else 0
    one = jax.tree.map(lambda leaf: leaf[first], steps._replace(b=()))
    rest = steps.b[0].shape[0] - 1
    low, high = (rest, 0) if reverse else (0, rest)

    def lengthened(plane: Array) -> Array:
        around = [(low, high, 0), *[(0, 0, 0)] * plane.ndim]
        return lax.pad(plane[None], jnp.zeros((), plane.dtype), around)

    moved = ring.apply(one.a, seen(h0, one.restart))
    b = tuple(
        every + lengthened(jnp.broadcast_to(new, every.shape[1:]).astype(every.dtype))
        for every, new in zip(steps.b, moved, strict=True)
    )
    return steps._replace(b=b)


def over(
    mesh_axis: str | None,
    time: int,
    run: Callable[[Place, Any, Any], Any],
    moving: Any,
    fixed: Any,
    results: Any = True,
) -> Any:
    """Runs a function of a place, of arrays along time, and of others.

    Args:
      mesh_axis: The axis of the mesh that time is split over; None for none.
      time: The number of steps.
      run: The function.
      moving: Arrays [T, ...], of which each device gets its steps.
      fixed: Arrays that all devices get.
      results: A prefix of the tree of results: whether they have an axis of time.

    Raises:
      ValueError: if there is no such axis, or it does not divide the time.
    """
    if mesh_axis is None:
        return run(Whole(), moving, fixed)
    mesh = jax.sharding.get_abstract_mesh()
    usable = [
        name
        for name, kind in zip(mesh.axis_names, mesh.axis_types, strict=True)
        if kind == AxisType.Auto
    ]
    if mesh_axis not in usable:
        raise ValueError(
            f"mesh_axis={mesh_axis!r} is not among the Auto axes of the mesh in use, "
            f"{usable}. Call this inside of `jax.set_mesh(mesh)`, with a mesh whose "
            "axis of time is Auto, and outside of `jax.shard_map` over that axis."
        )
    number = mesh.shape[mesh_axis]
    if time % number:
        raise ValueError(
            f"{time} time steps cannot be sharded over the {number} devices of "
            f"mesh_axis={mesh_axis!r}. Pad the sequence, with a mask that is False "
            "there."
        )
    along, same = PartitionSpec(mesh_axis), PartitionSpec()
    return jax.shard_map(
        lambda moving, fixed: run(Split(mesh_axis), moving, fixed),
        in_specs=(along, same),
        out_specs=jax.tree.map(lambda flag: along if flag else same, results),
        axis_names={mesh_axis},
    )(moving, fixed)
