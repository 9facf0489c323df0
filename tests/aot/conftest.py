"""A compiler of programs for an H100, as users have it."""

import jax
import pytest

from experiments import targets


@pytest.fixture
def h100_compiler():
    """Skips without it; other tests compile programs that are optimized little."""
    if targets.missing("h100"):
        pytest.skip(targets.missing("h100"))
    little = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", little)
