"""The concepts of the lecture notes: the notebook that shows each, and words in it."""

CONCEPTS = {
    "language modeling": ("00_tour", "*language modeling*"),
    "memory-less models": ("00_tour", "The model without memory"),
    "padding of inputs of one size": ("00_tour", "padding becomes part of its input"),
}
