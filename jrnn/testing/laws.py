"""The laws: functions of a subject that raise if a cell breaks them."""

import copy
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jrnn import checks, kernels
from jrnn.diagnostics import check_structure
from jrnn.kernels.gated.layout import joins
from jrnn.scanning import step
from jrnn.testing.subjects import B, Subject, T, assert_close, randomize, weighted_sum
from jrnn.types import Array, Params, State


def is_a_plain_value(subject: Subject) -> None:
    """Equal cells have equal hashes, and print without memory addresses."""
    cell = subject.cell
    twin = copy.copy(cell)
    assert twin == cell and hash(twin) == hash(cell), "a copy of it is not equal to it"
    assert "0x" not in repr(cell), f"it prints a memory address, {cell!r}"


def step_keeps_types(subject: Subject) -> None:
    """A step keeps structure, shapes and dtypes, in float32 and in bfloat16.

    Strict promotion makes an error of what would be cast silently.
    """
    cell = subject.cell

    def one_step(params: Params, xs: Array) -> Any:
        before = cell.initial_state(params, (B, T))
        return before, *step(cell, params, before, xs)  # [B, T] is a batch

    for dtype in (jnp.float32, jnp.bfloat16):
        params, xs = _cast((subject.params, subject.xs), dtype)
        with jax.numpy_dtype_promotion("strict"):
            before, after, y = jax.eval_shape(one_step, params, xs)
        assert _types(before) == _types(after), "a step changes the type of the state"
        assert y.shape[-1] == cell.output_size and y.shape[:2] == (B, T), (
            f"the output has the shape {list(y.shape)}, but output_size is "
            f"{cell.output_size}"
        )


def time_and_batch_are_alike(subject: Subject) -> None:
    """`project` and `read` treat leading axes alike."""
    cell = subject.cell
    second = lambda tree: jax.tree.map(lambda a: a[:, 1], tree)  # noqa: E731

    @jax.jit
    def apart_and_together(params: Params, state: State, xs: Array) -> Any:
        params = cell.prepare(params, batch_shape=(B,))
        us = cell.project(params, xs[:, :2])
        states = jax.tree.map(lambda a: jnp.stack([a, 2 * a], axis=1), state)
        read = cell.read(params, second(states), second(us))
        together = second(us), cell.read(params, states, us)[:, 1]
        return (cell.project(params, xs[:, 1]), read), together

    apart, together = apart_and_together(subject.params, subject.state, subject.xs)
    assert_close(apart[0], together[0], what="project")
    assert_close(apart[1], together[1], what="read")


def a_scan_is_its_steps(subject: Subject) -> None:
    """A scan equals repeated steps, and can be cut in two."""
    params, state, xs = subject.params, subject.state, np.asarray(subject.xs)
    final, ys = subject.run()
    ys, middle = np.asarray(ys), state
    for start in (0, 3):  # of equal lengths, so that they share a compilation
        middle, part = subject.run(params, middle, xs[:, start : start + 3])
        assert_close(part, ys[:, start : start + 3], what=f"the scan from {start} on")
    one = jax.jit(functools.partial(step, subject.cell))
    assert_close(one(params, middle, xs[:, 6]), (final, ys[:, 6]), what="a step after")
    for t in range(T):
        state, y = one(params, state, xs[:, t])
        assert_close(y, ys[:, t], what=f"step {t}")
    assert_close(state, final, what="the state after the last step")


def padding_is_inert(subject: Subject) -> None:
    """NaN in padded steps reaches neither values nor gradients."""
    params, state, xs = subject.params, subject.state, subject.xs
    lengths, reset = jnp.array([3, T]), jnp.zeros((B, T), bool).at[:, 2].set(True)
    with jax.debug_nans(False):  # the NaN is meant
        padded = xs.at[0, 3:].set(jnp.nan)
        out, grads = subject.gradient(
            params, state, padded, lengths=lengths, reset=reset
        )
    row = jax.tree.map(lambda a: a[:1], (state, xs))
    short = subject.run(params, row[0], row[1][:, :3], reset=reset[:1, :3])
    assert_close(jax.tree.map(lambda a: a[:1], out[0]), short[0], what="final state")
    assert_close(out[1][:1, :3], short[1], what="outputs of a shorter row")
    assert not jnp.any(out[1][0, 3:]), "outputs at padded steps are not zero"
    for name, leaf in checks.named_leaves("gradient", grads).items():
        assert jnp.all(jnp.isfinite(leaf)), f"{name} is not finite"


def a_reset_starts_anew(subject: Subject) -> None:
    """After a reset a sequence goes on from the initial state."""
    params, state, xs = subject.params, subject.state, np.asarray(subject.xs)
    reset = np.arange(T) == np.full((B, 1), 3)
    _, ys = subject.run(params, state, xs, reset=reset)
    initial = subject.cell.initial_state(params, (B,))
    _, tail = subject.run(params, initial, xs[:, 3:6])
    assert_close(np.asarray(ys)[:, 3:6], tail, what="outputs after a reset")


def every_parameter_has_a_gradient(subject: Subject) -> None:
    """No entry of a parameter, the state or the input is without effect."""
    _, grads = subject.gradient(reset=jnp.zeros((B, T), bool).at[0, 4].set(True))
    for name, leaf in checks.named_leaves("params", grads[0]).items():
        assert jnp.all(leaf != 0), f"{name} has entries whose gradient is zero"
    for name, leaf in checks.named_leaves("xs", grads[2]).items():
        assert jnp.any(leaf != 0), f"{name} has no gradient"


def jit_changes_nothing(subject: Subject) -> None:
    """A scan without jit returns the same."""
    expected = subject.run()
    with jax.disable_jit():
        assert_close(subject.run(), expected, what="without jit")


def transformations_change_nothing(subject: Subject) -> None:
    """vmap, unrolling and rematerialization return the same."""
    expected = subject.run()

    @jax.jit
    def transformed(params: Params, state: State, xs: Array) -> dict[str, Any]:
        run = functools.partial(subject.run, params)
        return {
            "unroll=3": run(state, xs, unroll=3),
            'remat="sqrt"': run(state, xs, remat="sqrt"),
            "vmap": jax.vmap(run)(state, xs),
        }

    results = transformed(subject.params, subject.state, subject.xs)
    for name, actual in results.items():
        assert_close(actual, expected, what=name)


def kernels_agree(subject: Subject) -> None:
    """Each kernel that runs the cell equals the scan, in values and gradients."""
    xs = jnp.moveaxis(subject.xs, 1, 0)
    inputs = kernels.Inputs(xs, None, None, None)
    mask = jnp.ones((B, T), bool).at[0, 2].set(False)
    reset = jnp.zeros((B, T), bool).at[1, 3].set(True)
    options: Any = {"reset": reset, "mask": mask, "key": jax.random.key(5)}
    expected = subject.gradient(method="scan", **options)
    for name in ("gated", "linear"):
        kernel = kernels.METHODS[name]
        if kernel.refusal(subject.cell, inputs, kernels.Options()) is None:
            actual = subject.gradient(method=name, **options)
            assert_close(actual, expected, 1e-8, what=f"method={name!r}")


def inputs_are_affine(subject: Subject) -> None:
    """With `affine_inputs`, one matmul may serve the input and the state."""
    if not joins(subject.cell):
        return
    form: Any = subject.cell.form
    params, xs = subject.cell.prepare(subject.params), subject.xs
    from_x = xs @ form.inputs(params)
    v = randomize(from_x, 5)
    expected = form.combine(params, subject.cell.project(params, xs), v)
    biases = subject.cell.project(params, jnp.zeros_like(xs))
    actual = form.combine(params, biases, from_x + v)
    assert_close(actual, expected, 1e-12, what="pre-activations by one matmul")


def derivatives_agree(subject: Subject) -> None:
    """Forward mode equals reverse mode, and both equal finite differences."""
    args = (subject.params, subject.state, subject.xs)
    along = randomize(args, 7, scale=1.0)
    loss = lambda args: weighted_sum(subject.run(*args))  # noqa: E731

    @jax.jit
    def derivatives(args: Any, along: Any) -> tuple[Array, ...]:
        _, forward = jax.jvp(loss, (args,), (along,))
        slopes, changes = jax.tree.leaves(jax.grad(loss)(args)), jax.tree.leaves(along)
        reverse = sum(jnp.vdot(a, b) for a, b in zip(slopes, changes, strict=True))
        move = lambda by: jax.tree.map(lambda a, d: a + by * d, args, along)  # noqa: E731
        difference = (loss(move(1e-6)) - loss(move(-1e-6))) / 2e-6
        return forward, jnp.asarray(reverse), difference

    forward, reverse, difference = derivatives(args, along)
    assert_close(reverse, forward, 1e-8, what="reverse mode")
    assert_close(difference, forward, 1e-5, what="finite differences")


def structure_is_as_declared(subject: Subject) -> None:
    """The Jacobian of a step has the structure that the form declares."""
    features = subject.xs.shape[2:]
    if len(features) == 1:
        size = features[0]
        check_structure(subject.cell, subject.params, input_size=size, draws=1)


def buffers_are_distinct(subject: Subject) -> None:
    """No two leaves share memory: they could not be donated."""
    params = subject.cell.init(jax.random.key(0), _input_size(subject.xs))
    leaves = checks.named_leaves("params", params)
    for batch in ((B,), ()):
        state = subject.cell.initial_state(params, batch)
        leaves |= checks.named_leaves(f"state of the batch {batch}", state)
    seen: dict[int, str] = {}
    for name, leaf in leaves.items():
        other = seen.setdefault(leaf.unsafe_buffer_pointer(), name)
        assert other == name, f"{name} and {other} are one array"


LAWS: dict[str, Callable[[Subject], None]] = {
    "a cell is a plain value": is_a_plain_value,
    "a step keeps structure, shapes and dtypes": step_keeps_types,
    "project and read treat time and batch alike": time_and_batch_are_alike,
    "a scan is its steps and can be cut anywhere": a_scan_is_its_steps,
    "padding is inert": padding_is_inert,
    "a reset starts from the initial state": a_reset_starts_anew,
    "every parameter has a gradient": every_parameter_has_a_gradient,
    "jit changes nothing": jit_changes_nothing,
    "transformations change nothing": transformations_change_nothing,
    "kernels equal the scan": kernels_agree,
    "`affine_inputs` is true of it": inputs_are_affine,
    "derivatives agree in every mode": derivatives_agree,
    "the Jacobian has the declared structure": structure_is_as_declared,
    "no two leaves share memory": buffers_are_distinct,
}


def _types(tree: Any) -> Any:
    return jax.tree.map(lambda a: (a.shape, a.dtype), tree)


def _cast(tree: Any, dtype: Any) -> Any:
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, dtype), tree)


def _input_size(xs: Array) -> Any:
    features = xs.shape[2:]
    return features if len(features) > 1 else features[0]
