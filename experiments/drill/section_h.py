"""Section H of the drill: what the library promises."""

from experiments.drill.rows import Row

ROWS = (
    Row(
        66,
        "H",
        "outputs recorded from other libraries",
        "equal within the tolerance of each case",
    ),
    Row(
        67,
        "H",
        "gradients recorded from other libraries",
        "equal within the tolerance of each case",
    ),
    Row(
        68,
        "H",
        "training runs recorded from PyTorch",
        "losses, norms and final weights within 1e-5",
    ),
    Row(
        69,
        "H",
        "with and without `jit`, `vmap` and `unroll`",
        "equal, or within 1e-6 as documented",
    ),
    Row(
        70,
        "H",
        "truncation after T or more steps, and a run in chunks",
        "the full gradient, and the values of one long run, within 1e-12",
    ),
    Row(
        71,
        "H",
        "second derivatives of every cell in float64",
        "equal to differences",
    ),
    Row(
        72,
        "H",
        "20 bugs planted in the library",
        "its tests notice at least 19",
    ),
    Row(
        73,
        "H",
        "a second run, another process, another number of cores",
        "equal bit for bit",
    ),
    Row(
        74,
        "H",
        "the tests with x64, `jax_enable_checks`, `jax_debug_nans` and "
        "`jax.checking_leaks`",
        "pass",
    ),
)
