"""Initializers: functions from a random key and sizes to arrays of parameters."""

from jrnn.initializers.gate_biases import (
    Chrono as Chrono,
    forget_gate as forget_gate,
    uniform_gate as uniform_gate,
)
from jrnn.initializers.matrices import (
    Draw as Draw,
    glorot_uniform as glorot_uniform,
    identity as identity,
    lecun_normal as lecun_normal,
    orthogonal as orthogonal,
    orthogonal_fused as orthogonal_fused,
    small_normal as small_normal,
    truncated_normal as truncated_normal,
    uniform as uniform,
)
from jrnn.initializers.schemes import (
    SCHEMES as SCHEMES,
    Scheme as Scheme,
    biases as biases,
    recurrent_weights as recurrent_weights,
    scheme as scheme,
)
