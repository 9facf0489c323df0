"""A character model: an LSTM or GRU that predicts the next character of a text."""
