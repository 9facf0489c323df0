"""Flax: weights and states of recurrent modules, and jrnn's modules for linen and nnx.

Conversions of weights do not import Flax. `LinenCell`, `LinenLayer` and `FromLinen` are
defined in `linen`; `NNXCell`, `NNXLayer` and `FromNNX` are defined in `nnx`.
"""

from typing import TYPE_CHECKING

from jrnn.interop.common.lazy import lazy
from jrnn.interop.flax.weights import (
    from_linen_params as from_linen_params,
    from_nnx_params as from_nnx_params,
    state_from_flax as state_from_flax,
    state_to_flax as state_to_flax,
    to_linen_params as to_linen_params,
    to_nnx_params as to_nnx_params,
)

if TYPE_CHECKING:
    from jrnn.interop.flax import linen as linen, nnx as nnx
    from jrnn.interop.flax.linen import (
        FromLinen as FromLinen,
        LinenCell as LinenCell,
        LinenLayer as LinenLayer,
    )
    from jrnn.interop.flax.nnx import (
        FromNNX as FromNNX,
        NNXCell as NNXCell,
        NNXLayer as NNXLayer,
    )

__getattr__, __dir__ = lazy(
    __name__,
    modules=("linen", "nnx"),
    members={
        "FromLinen": "linen",
        "LinenCell": "linen",
        "LinenLayer": "linen",
        "FromNNX": "nnx",
        "NNXCell": "nnx",
        "NNXLayer": "nnx",
    },
)
