"""Models for PyTorch's ONNX exporters, and a command that records what they write.

    python -m tests.interop.onnx.exporters tests/interop/onnx/recorded

Each recorded file is an ONNX model; the inputs and outputs that PyTorch computes are in
its metadata. It needs `torch` and `onnxscript`.
"""

import io
import json
import pathlib
import sys

import numpy as np
import onnx
import torch

T, B, F, H = 5, 3, 2, 4
nn = torch.nn


class Tagger(nn.Module):
    """Embedding, a stack and a dense layer."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(7, F)
        self.rnn = nn.LSTM(F, H, num_layers=2, batch_first=True)
        self.dense = nn.Linear(H, 3)

    def forward(self, ids):
        return self.dense(self.rnn(self.embed(ids))[0])


class Classifier(nn.Module):
    """A dense layer on the last output, taken in one of several ways."""

    def __init__(self, how, **options):
        super().__init__()
        self.rnn = nn.GRU(F, H, batch_first=True, **options)
        self.dense = nn.Linear(2 * H if how == "both" else H, 3)
        self.how = how

    def forward(self, xs):
        ys, h = self.rnn(xs)
        if self.how == "step":
            return self.dense(ys[:, -1])
        return self.dense(torch.cat([h[-2], h[-1]], 1) if self.how == "both" else h[-1])


def cases():
    """Returns models and their inputs by name; each is [B, T, ...] or [T, B, ...]."""
    torch.manual_seed(0)
    xs = torch.randn(B, T, F)
    ids = torch.randint(0, 7, (B, T))
    h, c = torch.zeros(4, B, H), torch.zeros(4, B, H)
    two = {"num_layers": 2, "bidirectional": True}
    return {
        "gru": (nn.GRU(F, H, bias=False, batch_first=True), (xs,)),
        "lstm_2_both": (nn.LSTM(F, H, **two), (xs.transpose(0, 1),)),
        "lstm_2_both_state": (nn.LSTM(F, H, **two), (xs.transpose(0, 1), (h, c))),
        "gru_both": (nn.GRU(F, H, bidirectional=True, batch_first=True), (xs,)),
        "tagger": (Tagger(), (ids,)),
        "last_step": (Classifier("step"), (xs,)),
        "last_state": (Classifier("state", num_layers=2), (xs,)),
        "last_of_both": (Classifier("both", **two), (xs,)),
        "backward_state": (Classifier("state", bidirectional=True), (xs,)),
        "rnn": (nn.RNN(F, H), (xs.transpose(0, 1),)),
    }


def export(model, inputs, *, dynamo=True, free=False):
    """Returns what an exporter writes; with batch and time free or fixed."""
    how = {}
    if free and dynamo:
        axes = {0: torch.export.Dim("first"), 1: torch.export.Dim("second")}
        how = {"dynamic_shapes": [axes]}
    if free and not dynamo:
        how = {"input_names": ["x"], "dynamic_axes": {"x": {0: "a", 1: "b"}}}
    file = io.BytesIO()
    model.eval()
    torch.onnx.export(model, inputs, file, dynamo=dynamo, verbose=False, **how)
    return onnx.load_from_string(file.getvalue())


def outputs(model, inputs):
    """Returns what PyTorch computes."""
    with torch.no_grad():
        ys = model(*inputs)
    return np.asarray(ys[0] if isinstance(ys, tuple) else ys)


def main(folder):
    """Records every case with both kinds of sizes."""
    for name, (model, inputs) in cases().items():
        for free in (False, True):
            if free and (len(inputs) > 1 or name == "rnn"):
                continue
            proto = export(model, inputs, free=free)
            for node in proto.graph.node:  # names of source files are not needed
                del node.metadata_props[:]
                node.doc_string = ""
            for each in (*proto.graph.value_info, *proto.graph.input):
                del each.metadata_props[:]
            del proto.metadata_props[:], proto.graph.metadata_props[:]
            for key, array in (
                ("xs", inputs[0].numpy()),
                ("ys", outputs(model, inputs)),
            ):
                proto.metadata_props.add(key=key, value=json.dumps(array.tolist()))
            path = pathlib.Path(folder) / f"{name}{'_free' * free}.onnx"
            path.write_bytes(proto.SerializeToString())


if __name__ == "__main__":
    main(sys.argv[1])
