"""Arrays on disk: named arrays, file formats, whole writes.

    named_arrays   trees as flat dictionaries, and back
    trees          a tree from named arrays, with checks
    arrays         files of named arrays, with a hash of their content
    disk           reads and writes whole files
    closing        what is closed at the end of a `with` block
    formats        names, dtypes and limits; safetensors, npz, zips and pickled parse

`jrnn.interop.files` has the functions for users.
"""
