"""The inputs and outputs of a kernel, and the loop that kernels are built from."""

from typing import Any, NamedTuple, Protocol

import jax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jrnn.masks import where
from jrnn.types import Array, Cell, Params, State


class Inputs(NamedTuple):
    """What enters a loop over time: every leaf is [time, ...]."""

    xs: Any  # [T, *batch, features]; zero where padded
    keys: Array | None  # [T] one key per step
    keep: Array | None  # [T, *batch] False where the step does nothing
    restart: Array | None  # [T, *batch] True where the state is replaced first

    @property
    def time(self) -> int:
        """Number of steps."""
        return jax.tree.leaves(self.xs)[0].shape[0]


class Loop(NamedTuple):
    """The arrays of a loop over time."""

    params: Params  # prepared
    state: State  # before the first step, typed like the states that follow it
    fresh: State  # [*batch, ...] what a restart begins from
    inputs: Inputs


class Options(NamedTuple):
    """How a loop over time is run; static."""

    states: bool = False  # stack the state after every step
    outputs: bool = True  # stack the output of every step
    right_padded: bool = True  # padding, if any, is at the end of each row
    reverse: bool = False
    unroll: int | None = None  # None is what the kernel chooses
    remat: str | tuple[int, ...] | None = None


class Trajectory(NamedTuple):
    """The result of a kernel. A part that was not requested is None."""

    final: State  # after the last step
    states: State | None  # [T, *batch, ...] after every step
    ys: Array | None  # [T, *batch, output_size]; unspecified where padded


class Kernel(Protocol):
    """A way to compute a loop over time: a frozen value whose fields are options.

    `Scan` is the definition. Any other kernel returns the same within rounding.

    Example:
      >>> import jrnn
      >>> jrnn.kernels.Gated(), jrnn.kernels.Linear(order="scan")
      (Gated(), Linear(order='scan'))
    """

    def refusal(self, cell: Cell, inputs: Inputs, options: Options) -> str | None:
        """Returns why this kernel cannot run a cell; None if it can."""

    def run(self, cell: Cell, loop: Loop, options: Options) -> Trajectory:
        """Runs a cell along time."""


def restarted(state: State, fresh: State, restart: Array | None) -> State:
    """Returns the state that a step starts from, or each of many steps."""
    return state if restart is None else where(restart, fresh, state)


def project(cell: Cell, params: Params, inputs: Inputs) -> Any:
    """Projects every time step at once, with the keys that single steps would use.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.Elman(hidden_size=4)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> inputs = Inputs(jnp.ones((5, 2, 3)), None, None, None)  # time first
      >>> [u.shape for u in project(cell, params, inputs)]
      [(5, 2, 4)]
    """
    if inputs.keys is None:
        return cell.project(params, inputs.xs)
    return jax.vmap(lambda x, key: cell.project(params, x, key=key))(
        inputs.xs, inputs.keys
    )


def unroll(body: Any, state: State, slices: Any, options: Options) -> Any:
    """Runs `jax.lax.scan`, or only its body if there is one step."""
    length = jax.tree.leaves(slices)[0].shape[0]
    if length == 1:  # as when decoding: no loop to set up
        state, out = body(state, jax.tree.map(lambda leaf: leaf[0], slices))
        return state, jax.tree.map(lambda leaf: leaf[None], out)
    number = options.unroll if isinstance(length, int) else 1  # symbolic in exports
    return jax.lax.scan(
        body, state, slices, reverse=options.reverse, unroll=number or 1
    )


def divisor(time: int, size: int) -> int:
    """Returns a size of chunks near the one given that leaves no rest, if any does."""
    if time <= size:
        return max(time, 1)
    near = (number for number in range(size, size // 2, -1) if time % number == 0)
    return next(near, size)


def only_on(platforms: tuple[str, ...], method: str, reason: str, x: Array) -> Array:
    """Returns x, in a program that is lowered for no other platforms than these.

    A process on a CPU can export for TPUs, and one with GPUs can run on its CPU. The
    platform is known only when the program is lowered.

    Raises:
      ValueError: when the program is lowered for another platform.
    """
    return _only_on.bind(x, platforms=platforms, method=method, reason=reason)


def _check_platforms(
    given: Any, platforms: tuple[str, ...], method: str, reason: str
) -> None:
    if not set(given) <= set(platforms):
        raise ValueError(
            f"method={method!r} {reason}, and the program is lowered for "
            f"{', '.join(given)}. Use method='auto'."
        )


def _lower_only_on(ctx: Any, x: Any, **how: Any) -> list[Any]:
    _check_platforms(ctx.platforms or ctx.module_context.platforms, **how)
    return [x]


def _run_only_on(x: Array, **how: Any) -> Array:
    """Runs outside of `jit`, on an array that knows where it is."""
    names = {"gpu": "cuda"}
    given = {names.get(device.platform, device.platform) for device in x.devices()}
    _check_platforms(given, **how)
    return x


_only_on = Primitive("only_on")
_only_on.def_impl(_run_only_on)
_only_on.def_abstract_eval(lambda x, **_: x)
mlir.register_lowering(_only_on, _lower_only_on)
ad.deflinear2(_only_on, lambda ct, _, **how: [ct])
batching.defvectorized(_only_on)
