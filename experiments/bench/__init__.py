"""Times jrnn beside the other libraries that are installed.

`command` reads the options and `report` writes what came out; `rounds` starts one
process for each library, which runs `worker`, which builds its network from `peers`.
"""
