"""Weights and models on disk.

    save_model, load_model       a layer and its parameters, in one file
    save, load                   parameters and a configuration, for a known layer
    save_arrays, load_arrays     named arrays and text, in .safetensors or .npz
    restore                      a tree from named arrays, with checks
    to_config, from_config       a layer as plain data for JSON, and back

A save writes the complete file or leaves the old one. Each file contains a hash of all
its content, and a load verifies it before it uses any array: of the common formats,
only .npz would detect a flipped bit. Loads limit everything that a file of another
program claims, and never run a pickle.
"""

from jrnn.interop.files.models import (
    from_config as from_config,
    load_model as load_model,
    save_model as save_model,
    to_config as to_config,
)
from jrnn.interop.files.params import load as load, save as save
from jrnn.storage.arrays import (
    digest as digest,
    load_arrays as load_arrays,
    save_arrays as save_arrays,
)
from jrnn.storage.disk import (
    MAX_BYTES as MAX_BYTES,
    read_regular as read_regular,
    write_whole as write_whole,
)
from jrnn.storage.formats import FileError as FileError
from jrnn.storage.trees import restore as restore
