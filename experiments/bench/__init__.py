"""Benchmarks jrnn against the other installed libraries.

`command` reads the options and `report` writes the results. `rounds` starts one process
per library. Each process runs `worker`, which builds the network with `peers`.
"""
