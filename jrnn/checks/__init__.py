"""Checks at the border of the library, with messages that say how to recover."""

from jrnn.checks.arrays import (
    array as array,
    concrete as concrete,
    dtype as dtype,
    flags as flags,
    ids as ids,
    integers as integers,
    last_axis as last_axis,
    lengths as lengths,
    memory_rows as memory_rows,
    same_shape as same_shape,
    sequence_axes as sequence_axes,
    step_mask as step_mask,
)
from jrnn.checks.foreign import (
    as_arrays as as_arrays,
    init_key as init_key,
    key as key,
    refuse_foreign as refuse_foreign,
    split_key as split_key,
)
from jrnn.checks.scalars import (
    at_least as at_least,
    count as count,
    divides as divides,
    equal_sizes as equal_sizes,
    finite as finite,
    fraction as fraction,
    integer as integer,
    number as number,
    one_of as one_of,
    positive as positive,
    probability as probability,
    refuse_one_string as refuse_one_string,
    sizes as sizes,
)
from jrnn.checks.trees import (
    named_leaves as named_leaves,
    outline as outline,
    same_params as same_params,
    same_state as same_state,
    same_structure as same_structure,
)
