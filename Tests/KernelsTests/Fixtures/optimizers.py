"""Writes optimizers.json: parameters after 1, 10 and 100 steps of PyTorch's optimizers.

Needs nothing but PyTorch: `pip install torch`, then `python optimizers.py > optimizers.json`.
Initial parameters and gradients follow formulas that are exact in fp32, so that the test repeats them.
"""

import json
import sys

import torch

COUNT = 37
STEPS = 100


def initial_parameters():
    return torch.tensor([((i * 37 + 11) % 64 - 32) / 32 for i in range(COUNT)], dtype=torch.float32)


def gradients(step):
    """Signs, zeros and magnitudes from 2^-13 to 4 over the elements, changing with the step."""
    return torch.tensor(
        [((i * 7919 + step * 104729) % 2048 - 1024) / 1024 * 2.0 ** (2 - i % 16) for i in range(COUNT)],
        dtype=torch.float32,
    )


CASES = [
    ("sgd", torch.optim.SGD, dict(lr=0.01)),
    ("sgd", torch.optim.SGD, dict(lr=0.01, weight_decay=0.1)),
    ("sgd", torch.optim.SGD, dict(lr=0.01, momentum=0.9)),
    ("sgd", torch.optim.SGD, dict(lr=0.01, momentum=0.9, nesterov=True, weight_decay=0.1)),
    ("adam", torch.optim.Adam, dict(lr=0.001)),
    ("adam", torch.optim.Adam, dict(lr=0.01, betas=(0.9, 0.95), weight_decay=0.1)),
    ("adam", torch.optim.Adam, dict(lr=0.01, betas=(0.4, 0.99), eps=1e-6)),
    ("adamw", torch.optim.AdamW, dict(lr=0.001, weight_decay=0)),
    ("adamw", torch.optim.AdamW, dict(lr=0.01, betas=(0.9, 0.95), weight_decay=0.1)),
    ("rmsprop", torch.optim.RMSprop, dict(lr=0.01)),
    ("rmsprop", torch.optim.RMSprop, dict(lr=0.001, alpha=0.9, eps=1e-6, momentum=0.9, weight_decay=0.1)),
    ("adagrad", torch.optim.Adagrad, dict(lr=0.01)),
    ("adagrad", torch.optim.Adagrad, dict(lr=0.05, eps=1e-8, weight_decay=0.1)),
]


def run(make, options):
    parameters = torch.nn.Parameter(initial_parameters())
    optimizer = make([parameters], foreach=False, **options)
    snapshots = {}
    for step in range(1, STEPS + 1):
        parameters.grad = gradients(step)
        optimizer.step()
        if step in (1, 10, STEPS):
            snapshots[str(step)] = parameters.detach().tolist()
    return snapshots


def main():
    cases = [
        {"name": name, "options": options, "parameters": run(make, options)} for name, make, options in CASES
    ]
    json.dump({"torch": torch.__version__, "cases": cases}, sys.stdout, separators=(",", ":"))
    print()


main()
