"""Checkpoints of any training loop: complete or absent, verified, never a pickle.

    Checkpoints    saves and restores the state of a run, in a folder that it locks
    inspect, load  read a checkpoint without a lock, to evaluate or sample
    fingerprint    a hash that identifies data
    differences    what changed between two configurations, in sentences

A checkpoint is a folder of plain arrays (`.safetensors`) and `manifest.json`, which has
the sha256 of every file and of itself. All hashes are verified before any array is
used. The newest intact checkpoint is used. If newer ones are damaged, a warning
explains why.
"""

from jrnn.training.checkpoints.manifest import (
    CheckpointError as CheckpointError,
    CheckpointWarning as CheckpointWarning,
    Manifest as Manifest,
    NewerFormatError as NewerFormatError,
)
from jrnn.training.checkpoints.reading import (
    Restored as Restored,
    fingerprint as fingerprint,
    inspect as inspect,
    load as load,
)
from jrnn.training.checkpoints.store import Checkpoints as Checkpoints
from jrnn.training.differences import differences as differences
