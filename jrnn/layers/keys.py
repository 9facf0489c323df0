"""Keys for the parts of a layer, which may be applied without one."""

from jrnn import checks
from jrnn.types import PRNGKey


def optional_keys(key: PRNGKey | None, number: int = 2) -> tuple[PRNGKey | None, ...]:
    """Returns as many keys, split from one, or as many Nones if there is none.

    Raises:
      TypeError: if it is neither None nor a key of `jax.random`.
    """
    return (None,) * number if key is None else tuple(checks.split_key(key, number))
