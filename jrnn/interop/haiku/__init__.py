"""Haiku: weights and states of its cores, and jrnn's modules for Haiku.

Conversions of weights do not import Haiku; `HaikuCell` and `HaikuLayer` do.
"""

from typing import TYPE_CHECKING

from jrnn.interop.common.lazy import lazy
from jrnn.interop.haiku.weights import (
    from_params as from_params,
    state_from_haiku as state_from_haiku,
    state_to_haiku as state_to_haiku,
    to_params as to_params,
)

if TYPE_CHECKING:
    from jrnn.interop.haiku.modules import (
        HaikuCell as HaikuCell,
        HaikuLayer as HaikuLayer,
    )

__getattr__, __dir__ = lazy(
    __name__, members={"HaikuCell": "modules", "HaikuLayer": "modules"}
)
