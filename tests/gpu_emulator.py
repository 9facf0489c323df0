"""The kernel for GPUs computed by jnp: the same halves of a step, padding and tiles.

All programs, warpgroups and blocks of units are computed at once, and in any dtype. The
interpreter of Pallas runs the kernel itself, which takes seconds for a few steps.
"""

import jax
import jax.numpy as jnp

from jrnn.kernels.pallas.gpu import operations, plan as plans, units


def emulate(how, arrays):
    """Runs a loop as `platforms.on_gpu` does."""
    step, plan, weights = plans.prepare(how.body, arrays)
    ins, kinds = plans.inputs(step, plan, arrays)
    tiles = plans.tiles_of(plan, weights, step.matmul.transposed)
    tiles = tiles.swapaxes(1, 2).reshape(plan.heads, plan.tiles, plan.padded, -1)
    carried = [slot for slot in step.ins if kinds[slot] == "carry"]
    moving = {slot: a for slot, a in ins.items() if kinds[slot] == "slices"}

    def parts(slot, a):
        """Returns [rows, heads, units] for each gate."""
        if slot.dtype == bool:
            return [a[:, 0, :, :1] != 0]
        rows = slice(0, 1) if kinds[slot] == "shared" else slice(None)
        return [a[rows, gate] for gate in range(a.shape[1])]

    def one(carry, slices):
        known = {slot: parts(slot, a) for slot, a in ins.items() if slot not in moving}
        known |= dict(zip(carried, ([a] for a in carry), strict=True))
        known |= {slot: parts(slot, a) for slot, a in slices.items()}
        get = lambda slot: known[slot] if isinstance(slot, operations.Slot) else slot
        known |= units.run(step.before, get, step)
        left, gates = get(step.matmul.left), range(plan.tiles)
        if step.matmul.transposed:
            v = [sum(multiply(left[gate], gate) for gate in gates)]
        else:
            v = [multiply(left[0], gate) for gate in gates]
        known[step.matmul.out] = v
        known |= units.run(step.after, get, step)
        outs = [wide(get(slot), slot) for slot in step.outs]
        new = [a[0] for a in outs[: len(carry)]]
        return new, [jnp.stack(a, -3) for a in outs[len(carry) :]]

    def multiply(left, gate):
        return jnp.einsum("rhk,huk->rhu", left, tiles[:, gate])

    def wide(a, slot):
        a = a if isinstance(a, list) else [a] * step.gates(slot)
        return [jnp.broadcast_to(x, (plan.rows, plan.heads, plan.padded)) for x in a]

    first = [parts(slot, ins[slot])[0] for slot in carried]
    final, outs = scan_slots(one, first, moving, how.reverse)
    shapes = jax.eval_shape(how.body, *plans.one_step(arrays))
    batch = jax.tree.leaves(arrays.carry)[0].shape[0]
    found = [a[:, None] for a in final] + outs
    whole = [plans.restored(plan, a, batch) for a in found]
    leaves, structure = jax.tree.flatten(shapes)
    pairs = zip(whole, leaves, strict=True)
    return jax.tree.unflatten(structure, [a.astype(b.dtype) for a, b in pairs])


def scan_slots(one, first, moving, reverse):
    """Runs `jax.lax.scan` on arrays by slots, which are no pytree."""
    slots = list(moving)

    def body(carry, slices):
        return one(carry, dict(zip(slots, slices, strict=True)))

    return jax.lax.scan(body, first, list(moving.values()), reverse=reverse)
