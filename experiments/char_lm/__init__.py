"""A character model: an LSTM that reads a text and learns to guess what comes next."""
