"""A step of a gated cell as operations on blocks of units, for kernels on GPUs.

The threads of a GPU hold an array in their registers, and its shape is fixed when the
program is compiled. So a kernel computes a step for some units at a time: each array
[B, m*H] of the step becomes m arrays [rows, units], one for each gate, and only the
matmul in between mixes units. This works because all other operations are elementwise.
Steps are read as JAX traces them, so any cell can be computed whose operations are in
the table below.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal

from jrnn.kernels.pallas.gpu.operations import (
    Operation,
    Parts,
    Slot,
    UnsupportedError,
    apply,
    gates,
)


class Matmul(NamedTuple):
    """The matmul of a step, `left @ weights`, or with the weights transposed."""

    left: Any
    weights: Any
    out: Slot
    transposed: bool


class Step(NamedTuple):
    """A step in two halves, before and after its matmul."""

    ins: list[Slot]
    before: list[Operation]
    matmul: Matmul
    after: list[Operation]
    outs: list[Any]
    units: int

    def used(self) -> set[Slot]:
        """Returns the slots that something reads."""
        read = [slot for op in self.before + self.after for slot in op.ins]
        read += [*self.outs, self.matmul.left, self.matmul.weights]
        return {slot for slot in read if isinstance(slot, Slot)}

    def gates(self, slot: Any) -> int:
        """Returns how many blocks of units an array has; 1 if it has no units."""
        return gates(slot, self.units)


def take_apart(body: Callable[..., Any], args: Any, units: int) -> Step:
    """Reads a step of (shared, rows, carry, slice) -> (carry, out).

    Raises:
      UnsupportedError: if it does anything but one matmul and elementwise operations.
    """
    closed = jax.make_jaxpr(body)(*args)
    ins = [Slot(var.aval) for var in closed.jaxpr.invars]
    constants = [_constant(value) for value in closed.consts]
    operations: list[Operation] = []
    outs = _inline(closed.jaxpr, [*constants, *ins], operations)
    operations = _needed(operations, outs)
    dots = [op for op in operations if op.name == "dot_general"]
    if len(dots) != 1:
        raise UnsupportedError(f"a step of {len(dots)} matmuls, instead of one")
    (dot,) = dots
    (_, (axis,)), batch = dot.params["dimension_numbers"]
    if batch != ((), ()) or dot.ins[1] not in ins:
        raise UnsupportedError(
            "a matmul with something else than the recurrent weights"
        )
    matmul = Matmul(dot.ins[0], dot.ins[1], dot.outs[0], axis == 1)
    before = _needed(operations, [matmul.left])
    done = {id(op) for op in [*before, dot]}
    after = [op for op in operations if id(op) not in done]
    step = Step(ins, before, matmul, after, outs, units)
    _check(step)
    return step


def run(operations: list[Operation], read: Callable[[Any], Parts], step: Step) -> dict:
    """Returns the parts of the results of operations, by their slots."""
    found: dict[Any, Parts] = {}

    def get(slot: Any) -> Parts:
        if not isinstance(slot, Slot):
            return slot
        return found[slot] if slot in found else read(slot)

    for op in operations:
        args = [get(slot) for slot in op.ins]
        results = apply(op, args, step.units)
        found.update(zip(op.outs, results, strict=True))
    return found


def _inline(jaxpr: Any, given: list[Any], out: list[Operation]) -> list[Any]:
    """Appends the operations of a program and of those that it calls."""
    names = [*jaxpr.constvars, *jaxpr.invars]
    env = dict(zip(names, given, strict=True))

    def read(var: Any) -> Any:
        return _constant(var.val) if isinstance(var, Literal) else env[var]

    for equation in jaxpr.eqns:
        ins = [read(var) for var in equation.invars]
        params = equation.params
        inner = next((params[n] for n in _CALLS if n in params), None)
        if inner is not None:
            closed = hasattr(inner, "consts")
            constants = [_constant(value) for value in inner.consts] if closed else []
            body = inner.jaxpr if closed else inner
            results = _inline(body, [*constants, *ins], out)
        else:
            results = [Slot(var.aval) for var in equation.outvars]
            out.append(Operation(equation.primitive.name, ins, results, params))
        env.update(zip(equation.outvars, results, strict=True))
    return [read(var) for var in jaxpr.outvars]


_CALLS = ("jaxpr", "call_jaxpr", "fun_jaxpr")


def _constant(value: Any) -> Any:
    array = np.asarray(value)
    if array.ndim:
        raise UnsupportedError(f"an array of constants, of shape {list(array.shape)}")
    return bool(array) if array.dtype == bool else float(array)


def _needed(operations: list[Operation], outs: list[Any]) -> list[Operation]:
    """Returns the operations that results need."""
    needed, kept = set(map(id, outs)), []
    for op in reversed(operations):
        if any(id(slot) in needed for slot in op.outs):
            kept.append(op)
            needed.update(map(id, op.ins))
    return kept[::-1]


def _check(step: Step) -> None:
    """Raises unless every operation has a rule. Traces them without computing."""

    def read(slot: Slot) -> Parts:
        return [jnp.ones((1, 1), _kind(slot))] * step.gates(slot)

    def both() -> None:
        before = run(step.before, read, step)
        before[step.matmul.out] = read(step.matmul.out)
        get = lambda slot: before[slot] if slot in before else read(slot)  # noqa: E731
        run(step.after, get, step)

    jax.eval_shape(both)


def _kind(slot: Slot) -> Any:
    return jnp.bool_ if slot.dtype == bool else jnp.float32
