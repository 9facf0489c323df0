"""What a warpgroup does in a kernel for a GPU."""

import inspect
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from jrnn.kernels.pallas.gpu import units
from jrnn.kernels.pallas.gpu.operations import Slot
from jrnn.kernels.pallas.gpu.plan import ROWS, UNITS, Plan, held
from jrnn.types import Array

# Before JAX 0.12, loads take an index, and any store is allowed to be slow.
_INDEXED = "idx" in inspect.signature(plgpu.load).parameters
_store: Any = getattr(plgpu, "store", None)


def _transforms(plan: Plan) -> tuple[Any, ...]:
    """Returns the layout of shared memory: tiles whose rows are swizzled."""
    swizzle = UNITS * plan.dtype.itemsize
    tiling = plgpu.TilingTransform((8, UNITS))
    return tiling, plgpu.SwizzleTransform(swizzle)


def scratch(plan: Plan, step: units.Step, compiled: bool) -> list[Any]:
    """Returns what a program has in shared memory: arrays and barriers."""
    weights, left = held(plan, step)
    if not compiled:
        weights = (*weights[:-2], *weights[:-3:-1])
    transforms = _transforms(plan)
    memory = [
        plgpu.SMEM(shape, plan.dtype, transforms=transforms)
        for shape in (weights, left)
    ]
    if plan.resident:
        arrivals, number = plan.turns * plan.tiles, plan.groups
    else:
        arrivals, number = 1, 2 * plan.groups
    loaded = plgpu.Barrier(num_arrivals=arrivals, num_barriers=number)
    return [*memory, loaded, plgpu.Barrier(num_arrivals=plan.groups)]


class Warpgroup:
    """What one warpgroup does. It holds tracers, so each trace makes its own."""

    def __init__(
        self,
        refs: Sequence[Any],
        step: units.Step,
        plan: Plan,
        kinds: dict[Slot, str],
        ins: list[Slot],
        reverse: bool,
        carried: int,
        compiled: bool,
    ):
        self.step, self.plan, self.kinds = step, plan, kinds
        self.reverse, self.carried, self.compiled = reverse, carried, compiled
        self.carry = [slot for slot in step.ins if kinds[slot] == "carry"]
        inputs, outputs = len(ins), len(step.outs)
        self.refs = dict(zip(ins, refs, strict=False))
        self.weights = refs[inputs]
        self.outs = refs[inputs + 1 : inputs + 1 + outputs]
        self.tiles, self.left, self.loaded, self.met = refs[inputs + 1 + outputs :]
        self.head, self.block = lax.axis_index("head"), lax.axis_index("block")
        self.group = lax.axis_index("group")

    def run(self) -> None:
        """Computes all steps."""
        plan, turns = self.plan, range(self.plan.turns)
        if plan.resident:
            for turn in turns:
                for gate in range(plan.tiles):
                    at = self._number(turn)
                    self._fetch(turn, gate, self.tiles.at[at, gate], self.group)
            plgpu.barrier_wait(self.loaded.at[self.group])

        def one(index: Any, carried: Any) -> Any:
            t = plan.time - 1 - index if self.reverse else index
            return self._one(t, carried)

        first = [
            [self._load(slot, turn, 0)[0] for slot in self.carry] for turn in turns
        ]
        last = lax.fori_loop(0, plan.time, one, first)
        for turn in turns:
            for ref, value in zip(self.outs, last[turn], strict=False):
                self._store(ref, [value], turn, None)

    def _one(self, t: Any, carried: list[list[Array]]) -> list[list[Array]]:
        """Computes one step for the units of this warpgroup."""
        step, plan = self.step, self.plan
        known: list[dict[Any, Any]] = []
        if not plan.resident:
            self._fetch(0, 0, *self._ring(0))
        for turn in range(plan.turns):
            mine = dict(zip(self.carry, ([c] for c in carried[turn]), strict=True))
            loaded = dict(mine)
            mine |= units.run(step.before, self._reader(loaded, turn, t), step)
            left = self._reader({**loaded, **mine}, turn, t)(step.matmul.left)
            known.append(mine)  # loads are repeated later: registers are few
            for part, value in enumerate(left):
                at = pl.ds(self._unit(turn), UNITS)
                self.left[part, :, at] = value.astype(plan.dtype)
        plgpu.commit_smem()
        self._meet()
        after = []
        for turn in range(plan.turns):
            mine = known[turn]
            mine[step.matmul.out] = self._multiply(turn)
            read = self._reader(mine, turn, t)
            mine |= units.run(step.after, read, step)
            results = [self._filled(read(slot), slot) for slot in step.outs]
            after.append([parts[0] for parts in results[: self.carried]])
            pairs = zip(self.outs, results, strict=True)
            for ref, parts in list(pairs)[self.carried :]:
                self._store(ref, parts, turn, t)
        self._meet()
        return after

    def _multiply(self, turn: int) -> list[Array]:
        """Returns the matmul for one block of units, for each gate."""
        plan, transposed = self.plan, self.step.matmul.transposed
        tiles = range(plan.tiles)

        def dots(*sums: Any) -> list[Array]:
            for gate in tiles:
                tile = self.tiles.at[self._number(turn), gate]
                if not plan.resident:
                    tile = self._arrived(turn, gate)
                left = self.left.at[gate if transposed else 0]
                right = plgpu.transpose_ref(tile, (1, 0)) if self.compiled else tile
                plgpu.wgmma(sums[0 if transposed else gate], left, right)
                if not plan.resident:
                    plgpu.wgmma_wait(0)  # before another tile overwrites it
            return [total[...] for total in sums]

        number = 1 if transposed else plan.tiles
        sums = [plgpu.ACC((ROWS, UNITS), jnp.float32) for _ in range(number)]
        return pl.run_scoped(dots, *sums)

    def _arrived(self, turn: int, gate: int) -> Any:
        """Waits for a tile of the weights, and fetches the next one meanwhile."""
        plan = self.plan
        number = turn * plan.tiles + gate
        if number + 1 < plan.turns * plan.tiles:
            following = divmod(number + 1, plan.tiles)
            self._fetch(*following, *self._ring(number + 1))
        tile, barrier = self._ring(number)
        plgpu.barrier_wait(self.loaded.at[barrier])
        return tile

    def _ring(self, number: int) -> tuple[Any, Any]:
        """Returns where a tile is kept, and the number of its barrier."""
        place = number % 2
        return self.tiles.at[self.group, place], 2 * self.group + place

    def _fetch(self, turn: int, gate: int, tile: Any, barrier: Any) -> None:
        source = self.weights.at[self.head, self._number(turn), gate]
        plgpu.copy_gmem_to_smem(source, tile, self.loaded.at[barrier])

    def _meet(self) -> None:
        """Waits for all warpgroups."""
        plgpu.barrier_arrive(self.met)
        plgpu.barrier_wait(self.met)

    def _number(self, turn: int) -> Any:
        """Returns the number of a block of units."""
        return self.group * self.plan.turns + turn

    def _unit(self, turn: int) -> Any:
        return pl.multiple_of(self._number(turn) * UNITS, UNITS)

    def _place(self, slot_kind: str, flags: bool, turn: int, t: Any) -> Any:
        """Returns the index of a gate's units."""
        rows = pl.ds(pl.multiple_of(self.block * ROWS, ROWS), ROWS)
        if slot_kind == "shared":
            rows = pl.ds(0, ROWS)
        lead = (t,) if slot_kind == "slices" else ()
        if flags:
            return lambda gate: (*lead, rows, 0, 0, pl.ds(0, UNITS))
        at = pl.ds(self._unit(turn), UNITS)
        return lambda gate: (*lead, rows, gate, self.head, at)

    def _load(self, slot: Slot, turn: int, t: Any) -> list[Array]:
        """Reads the units of a turn, for each gate, in float32."""
        flags = slot.dtype == bool
        place = self._place(self.kinds[slot], flags, turn, t)
        parts = []
        for gate in range(1 if flags else self.step.gates(slot)):
            value = self._read(self.refs[slot], place(gate)).astype(jnp.float32)
            parts.append(value != 0 if flags else value)
        return parts

    def _reader(self, known: dict[Any, Any], turn: int, t: Any) -> Any:
        """Returns a function that reads slots, from memory when first needed."""

        def read(slot: Any) -> Any:
            if not isinstance(slot, Slot):
                return slot
            if slot not in known:
                known[slot] = self._load(slot, turn, t)
            return known[slot]

        return read

    def _filled(self, parts: Any, slot: Any) -> list[Array]:
        number = self.step.gates(slot) if isinstance(slot, Slot) else 1
        parts = parts if isinstance(parts, list) else [parts] * number
        return [a if isinstance(a, jax.Array) else self._constant(a) for a in parts]

    def _store(self, ref: Any, parts: list[Array], turn: int, t: Any) -> None:
        place = self._place("carry" if t is None else "slices", False, turn, t)
        for gate, value in enumerate(parts):
            self._write(ref, place(gate), value.astype(ref.dtype))

    def _write(self, ref: Any, index: Any, value: Array) -> None:
        """Writes from registers; rows of a block are shorter than a cache line."""
        if not self.compiled or _INDEXED:
            ref[index] = value
        else:
            _store(ref.at[index], value, optimized=False)

    def _read(self, ref: Any, index: Any) -> Array:
        """Reads into registers, where a matmul of warpgroups keeps its results.

        The interpreter of Pallas does not support such layouts.
        """
        if not self.compiled:
            return ref[index]
        how: Any = {"layout": plgpu.Layout.WGMMA, "optimized": False}
        if _INDEXED:
            return plgpu.load(ref, index, **how)
        return plgpu.load(ref.at[index], **how)

    def _constant(self, number: float) -> Array:
        a = jnp.full((ROWS, UNITS), number, jnp.float32)
        return plgpu.layout_cast(a, plgpu.Layout.WGMMA) if self.compiled else a
