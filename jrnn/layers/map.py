"""Any function of one time step as a layer."""

from collections.abc import Callable
from typing import Any

import jax

from jrnn import checks, masks, options
from jrnn.types import Array, DType, Params, PRNGKey, Shape
from jrnn.values import value


@value
class Map:
    """Applies a function to each time step of each example on its own.

        ys[..., t, :] = function(xs[..., t, :])
        ys[..., t, :] = function(params, xs[..., t, :])        with `parameters`

    The function gets one step of one example, so it cannot mix time steps or examples.
    Layers with the same function are equal, so define it at the top of a module. A
    lambda that is created again makes a different layer, which is compiled again.

    Attributes:
      function: Maps an array [features], or with more `feature_axes` such as the frame
        of a video [height, width, channels], to an array.
      output_size: The number of output features; None for that of the input.
      parameters: A function (key, input_size, dtype) -> params, for a function that has
        parameters; None for one that has none.
      feature_axes: The number of axes of one step.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> def energy(x):
      ...     return jnp.sum(x**2, keepdims=True)
      >>> layer = jrnn.Map(energy, output_size=1)
      >>> layer.apply((), (), jnp.ones((2, 5, 3)))[1].shape
      (2, 5, 1)

      A module of Flax for each frame of a video:

      >>> from flax import linen as nn
      >>> module = nn.Conv(4, (3, 3))
      >>> def parameters(key, input_size, dtype):
      ...     return module.init(key, jnp.zeros((1, 1, input_size), dtype))
      >>> layer = jrnn.Map(module.apply, 4, parameters, feature_axes=3)
      >>> params = layer.init(jax.random.key(0), input_size=3)
      >>> layer.apply(params, (), jnp.ones((2, 5, 6, 7, 3)))[1].shape
      (2, 5, 6, 7, 4)
    """

    function: Callable[..., Array]
    output_size: int | None = None
    parameters: Callable[..., Params] | None = None
    feature_axes: int = 1

    over_time = "pointwise"

    def __post_init__(self) -> None:
        options.check(self)
        for name in ("function", "parameters"):
            given = getattr(self, name)
            if not callable(given) and (name == "function" or given is not None):
                raise TypeError(f"Map.{name} must be a function, got {given!r}.")

    def init(self, key: PRNGKey, input_size: int = 0, dtype: DType = float) -> Params:
        """Draws the parameters of the function, if it has any."""
        return (
            () if self.parameters is None else self.parameters(key, input_size, dtype)
        )

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> tuple[()]:
        """Returns an empty state."""
        del params, batch_shape
        return ()

    def apply(
        self,
        params: Params,
        state: Any,
        xs: Array,
        *,
        lengths: Array | None = None,
        mask: Array | None = None,
        reset: Array | None = None,
        key: PRNGKey | None = None,
    ) -> tuple[tuple[()], Array]:
        """Applies the function. Padded inputs are replaced by zeros.

        Raises:
          ValueError: if `xs` has fewer axes than a step, or if the function returns
            another number of features than `output_size`.
        """
        del state, reset, key
        checks.array("xs", xs)
        if xs.ndim < self.feature_axes:
            raise ValueError(
                f"xs must have {self.feature_axes} feature axes, got {list(xs.shape)}."
            )
        xs = masks.without_padding(xs, lengths, mask, feature_axes=self.feature_axes)
        leading = xs.shape[: xs.ndim - self.feature_axes]

        def one_step(x: Array) -> Array:
            given = () if self.parameters is None else (params,)
            return self.function(*given, x)

        mapped = one_step
        for _ in leading:
            mapped = jax.vmap(mapped)
        ys = mapped(xs)
        size = self.output_size or xs.shape[-1]
        if ys.shape[: len(leading)] == ys.shape or ys.shape[-1] != size:
            raise ValueError(
                f"Map.function returned {list(ys.shape[len(leading) :])} for one step, "
                f"but its last axis must have {size} features. Set `output_size`."
            )
        return (), ys
