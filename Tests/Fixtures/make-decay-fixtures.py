#!/usr/bin/env python3
"""Write PyTorch's answers for weight decay by parameter groups into Tests/Fixtures/decay-groups.json.

    /tmp/fixtures/bin/python Tests/Fixtures/make-decay-fixtures.py      # made as make-transformer-fixtures.py says

Three of that script's models take ten steps of AdamW and of SGD with four parameter groups, each with a decay of its own:
weights of linear maps, embeddings, biases, norms. Kept are the losses and the sum of squares of every parameter at the end,
without the biases of keys: softmax does not see them, so that their gradient is rounding, of which AdamW makes whole steps.
Everything is computed in float64.
"""

import importlib.util
import json
import struct
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
spec = importlib.util.spec_from_file_location("fixtures", HERE / "make-transformer-fixtures.py")
fixtures = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fixtures)

DECAYS = dict(matrix=0.9, embedding=0.5, bias=2.0, norm=1.3)
OPTIMIZERS = dict(
    adamw=(torch.optim.AdamW, dict(lr=1e-2, betas=(0.9, 0.95), eps=1e-8)),
    sgd=(torch.optim.SGD, dict(lr=1e-2)))


def group(name, tensor):
    if "norm" in name:
        return "norm"
    if "embedding" in name:
        return "embedding"
    return "bias" if tensor.ndim == 1 else "matrix"


def read_safetensors(path):
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    tensors = {}
    for name, entry in json.loads(data[8:8 + length]).items():
        if name != "__metadata__":
            first, end = (8 + length + offset for offset in entry["data_offsets"])
            dtype = {"F32": "<f4", "I32": "<i4"}[entry["dtype"]]
            tensors[name] = np.frombuffer(data[first:end], dtype).reshape(entry["shape"])
    return tensors


def squares(case, name, tensor):
    if name.endswith("attention.qkv.bias"):
        width = case["d_model"] // case["num_heads"]
        queries, keys, values = tensor.split([width * case[heads] for heads in ("num_heads", "num_kv_heads", "num_kv_heads")])
        tensor = torch.cat([queries, values])
    return tensor.detach().square().sum().item()


def train(case, tensors, make, options):
    parameters = {name[len("parameters/"):]: value for name, value in tensors.items() if name.startswith("parameters/")}
    p = fixtures.as_leaves(parameters, torch.float64)
    inputs, targets = (torch.tensor(tensors[name]).long() for name in ("inputs", "targets"))
    optimizer = make(
        [dict(params=[t for name, t in p.items() if group(name, t) == kind], weight_decay=decay)
         for kind, decay in DECAYS.items()], **options)
    losses = []
    for _ in range(fixtures.TRAINING_STEPS):
        optimizer.zero_grad()
        loss = fixtures.mean_loss(case, fixtures.forward(case, p, inputs), targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(p.values(), 1.0)
        losses.append(loss.item())
        optimizer.step()
    return dict(losses=losses, squares={name: squares(case, name, t) for name, t in p.items()})


def main():
    cases = []
    for name in ["small", "llama", "bert"]:
        case = fixtures.completed(next(case for case in fixtures.CASES if case["name"] == name))
        tensors = read_safetensors(HERE / "transformer" / f"{name}.safetensors")
        cases += [
            dict(model=name, optimizer=optimizer, **train(case, tensors, make, options))
            for optimizer, (make, options) in OPTIMIZERS.items()]
    report = dict(pytorch=torch.__version__, learning_rate=1e-2, clip_norm=1.0, decays=DECAYS, cases=cases)
    (HERE / "decay-groups.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
