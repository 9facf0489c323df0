"""The recurrence of gated cells, with most of its derivative outside the loop.

    v = recurrent(hidden(state)),    p = combine(u, v),    state' = update(state, p)

Values equal those of the scan. The derivative is written such that the loop holds only
what depends on the step before (d for tangents, R for the recurrent map):

    dp = combine'(du, dR(hidden(state)))  +  combine'(R(hidden(dstate)))

The first term has no sequential dependency: it is one matmul for a chunk of time steps.
Its transpose, which JAX makes for gradients, is the gradient of the recurrent weights,
and that of the input weights beside it, as one matmul per chunk; the scan adds to both
in every step. The derivative of `update` is hoisted too: JAX linearizes it once for a
whole chunk, and the loop multiplies by the factors. The forward pass saves the states,
and the pre-activations where that is faster than to recompute them.

    forward     values, and the tape that derivatives need
    tangents    the derivative as a linear function of tangents
    chunks      loops over chunks of time
    layout      how long a chunk is and what is saved
    varying     trees of which some leaves have a tangent
    flat        batch dimensions flattened for a while

Everything is ordinary JAX behind `jax.custom_jvp`: forward mode, reverse mode, `vmap`
and derivatives of any order work, and no derivative of a cell is written by hand.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jrnn import forms
from jrnn.kernels.base import Inputs, Loop, Options, Trajectory
from jrnn.kernels.gated import forward, layout as layouts, tangents
from jrnn.kernels.gated.flat import meshed
from jrnn.kernels.gated.layout import Layout as Layout, Plan
from jrnn.kernels.gated.varying import Varying
from jrnn.kernels.scan import Scan
from jrnn.types import Cell
from jrnn.values import value


@value
class Gated:
    """Runs a cell whose form is `jrnn.forms.Gated`, with fast gradients.

    Attributes:
      layout: How time is split and what is saved; None to choose by the sizes and by
        the platform for which the program is lowered. Under a mesh with explicit axes,
        the whole sequence is always one chunk.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell, xs = jrnn.GRU(hidden_size=4), jnp.ones((2, 5, 3))
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> kernel = jrnn.kernels.Gated(jrnn.kernels.Layout(chunk=2))
      >>> _, ys = jrnn.scan(cell, params, None, xs, method=kernel)
      >>> ys.shape
      (2, 5, 4)
    """

    layout: Layout | None = None

    def __post_init__(self) -> None:
        if self.layout is not None and not self.layout.chunk >= 1:
            raise ValueError(
                f"layout.chunk must be at least 1 step, got {self.layout.chunk!r}."
            )

    def refusal(self, cell: Cell, inputs: Inputs, options: Options) -> str | None:
        """Returns why this kernel cannot run a cell; None if it can."""
        del inputs, options
        if not isinstance(cell.form, forms.Gated):
            return (
                f"needs a cell whose form is `jrnn.forms.Gated`, but {cell} has another"
            )
        if self.layout is not None and self.layout.joint and not layouts.joins(cell):
            return (
                "joins the matmuls of input and state with joint=True, but the form of "
                f"{cell} has no matrix that is all of its `project`"
            )
        return None

    def run(self, cell: Cell, loop: Loop, options: Options) -> Trajectory:
        """Runs a cell along time."""
        leaves = jax.tree.leaves(loop.state)
        smooth = all(jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in leaves)
        if loop.inputs.time < 2 or not smooth:  # no loop, or leaves without a tangent
            return Scan().run(cell, loop, options)
        time = loop.inputs.time
        if meshed(jax.sharding.AxisType.Explicit):  # such arrays cannot be split
            return _run(_plan(cell, Layout(time), options), loop)
        on_cpu = self.layout or layouts.choose(cell, loop)
        other = self.layout or layouts.accelerated(time)
        run, default = (
            functools.partial(_run, _plan(cell, layout, options))
            for layout in (on_cpu, other)
        )
        if on_cpu == other:  # one program to trace
            return run(loop)
        return jax.lax.platform_dependent(loop, cpu=run, default=default)


def _plan(cell: Cell, layout: Layout, options: Options) -> Plan:
    """Returns a plan that unrolls as the caller says, or as the layout does."""
    return Plan(cell, layout, options._replace(unroll=options.unroll or layout.unroll))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _run(plan: Plan, loop: Loop) -> Trajectory:
    return forward.run(plan, loop)[0]


def _run_jvp(
    plan: Plan, primals: Any, tangents_in: Any
) -> tuple[Trajectory, Trajectory]:
    (loop,), (dloop,) = primals, tangents_in
    out, tape = _run_saving(plan, loop)
    return out, tangents.push(plan, loop, dloop, tape)


_run.defjvp(_run_jvp, symbolic_zeros=True)


# It writes in place, which no derivative should pass through (`chunks.loop_in_place`).
# Second derivatives are those of the same loop with its steps stacked.
@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _run_saving(plan: Plan, loop: Loop) -> Any:
    return forward.run(plan, loop, saving=True)


def _run_saving_jvp(plan: Plan, primals: Any, tangents_in: Any) -> Any:
    vary = Varying(tangents_in)

    def stacked(leaves: Any) -> Any:
        (loop,) = vary.put(primals, leaves)
        return forward.run(plan, loop, saving=True, in_place=False)

    return jax.jvp(stacked, (vary.pick(primals),), (vary.tangents,))


_run_saving.defjvp(_run_saving_jvp, symbolic_zeros=True)
