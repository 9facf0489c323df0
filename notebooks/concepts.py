"""The concepts of the lecture notes: the notebook that shows each, and words in it."""

CONCEPTS = {
    "language modeling": ("00_tour", "*language modeling*"),
    "memory-less models": ("00_tour", "The model without memory"),
    "padding of inputs of one size": ("00_tour", "padding becomes part of its input"),
    "a cycle is unstable": ("01_unfolding", "circuit that never settles"),
    "time steps": ("01_unfolding", "*Time steps* are the cure"),
    "the simple recurrent network": ("01_unfolding", "h_t = \\tanh(x_t W_x"),
    "concatenated weights": ("01_unfolding", "stack the weights, and concatenate"),
    "temporal unfolding": ("01_unfolding", "*Temporal unfolding*"),
    "a folded and an unfolded graph": ("01_unfolding", "The unfolded network"),
    "values change, weights stay": ("01_unfolding", "The values change from layer"),
    "shared weights add gradients": ("01_unfolding", "is a sum"),
    "shapes B, N, I": ("01_unfolding", "`[B, N, I]`"),
    "a word at any position": ("01_unfolding", "“Harry”"),
    "order matters": ("01_unfolding", "## Order matters"),
    "independent examples": ("01_unfolding", "usually independent"),
    "time series": ("01_unfolding", "A *time series*"),
    "cost of unfolding": ("01_unfolding", "## What unfolding costs"),
}
