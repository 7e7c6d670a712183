"""One rank of nanoGPT's model under PyTorch DDP over gloo, as a user of PyTorch would train it on CPUs.

compare_torch.py starts one such process per rank with RANK and WORLD_SIZE set; each binds itself to a core:

    torch_ddp.py SETTINGS.json

It appends one line per step to the ledger file of the settings, in the format of Lockstep's ledger.jsonl (the fields
that the comparison reads).

Shapes: b sequences of a micro-batch, s context, h d_model, a heads, V vocabulary.
"""

import contextlib
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn as nn
import torch.nn.functional as F
from torch.distributed.optim import ZeroRedundancyOptimizer

SHARD_MAGIC, SHARD_HEADER_BYTES = 20240520, 1024


class Block(nn.Module):
    def __init__(self, h, a, f, activation):
        super().__init__()
        self.heads = a
        self.attention_norm = nn.LayerNorm(h)
        self.qkv = nn.Linear(h, 3 * h)
        self.output = nn.Linear(h, h)
        self.mlp_norm = nn.LayerNorm(h)
        self.up = nn.Linear(h, f)
        self.down = nn.Linear(f, h)
        self.activation = {
            "gelu": nn.GELU(approximate="tanh"), "gelu_erf": nn.GELU(), "relu": nn.ReLU()}[activation]

    def forward(self, x):  # [b,s,h]
        b, s, h = x.shape
        q, k, v = self.qkv(self.attention_norm(x)).split(h, dim=2)
        q, k, v = (part.view(b, s, self.heads, h // self.heads).transpose(1, 2) for part in (q, k, v))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.output(mixed.transpose(1, 2).contiguous().view(b, s, h))
        return x + self.down(self.activation(self.up(self.mlp_norm(x))))


class Decoder(nn.Module):
    def __init__(self, model):
        super().__init__()
        h, V = model["d_model"], model["vocab_size"]
        self.token_embedding = nn.Embedding(V, h)
        self.position_embedding = nn.Embedding(model["context_length"], h)
        self.layers = nn.ModuleList(
            Block(h, model["num_heads"], model["d_ff"], model["activation"]) for _ in range(model["num_layers"]))
        self.final_norm = nn.LayerNorm(h)
        self.head = nn.Linear(h, V, bias=False)
        if model["tie_embeddings"]:
            self.head.weight = self.token_embedding.weight
        for parameter in self.parameters():
            if parameter.ndim >= 2:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, inputs, targets):  # both [b,s]
        x = self.token_embedding(inputs) + self.position_embedding.weight[: inputs.shape[1]]
        for layer in self.layers:
            x = layer(x)
        logits = self.head(self.final_norm(x))
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1)


def load_tokens(path):
    """Bytes of a text file, or the tokens of an llm.c shard."""
    if path.endswith(".bin"):
        header = np.fromfile(path, np.int32, 2)
        if header[0] != SHARD_MAGIC or header[1] != 1:
            sys.exit(f"{path}: not a token shard of 16-bit tokens (llm.c format, version 1)")
        return np.memmap(path, np.uint16, "r", SHARD_HEADER_BYTES)
    return np.memmap(path, np.uint8, "r")


def next_batch(tokens, b, s, generator):
    """nanoGPT's get_batch: random windows; targets are the inputs one token on."""
    starts = torch.randint(len(tokens) - s, (b,), generator=generator).tolist()
    rows = torch.from_numpy(np.stack([tokens[i : i + s + 1] for i in starts]).astype(np.int64))
    return rows[:, :-1].contiguous(), rows[:, 1:].contiguous()


def peak_resident_bytes():
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def make_optimizer(parameters, settings, shards):
    """AdamW; with `shards` each rank keeps and updates its part of the parameters (ZeRO-1)."""
    parameters = list(parameters)
    groups = [
        dict(params=[p for p in parameters if p.ndim >= 2], weight_decay=float(settings["weight_decay"])),
        dict(params=[p for p in parameters if p.ndim < 2], weight_decay=0.0),
    ]
    options = dict(
        lr=float(settings["learning_rate"]), betas=tuple(map(float, settings["betas"])),
        eps=float(settings["epsilon"]), fused=True)
    if shards:
        return ZeroRedundancyOptimizer(groups, optimizer_class=torch.optim.AdamW, **options)
    return torch.optim.AdamW(groups, **options)


def main(settings):
    rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if settings["cores"] is not None:
        os.sched_setaffinity(0, {settings["cores"][rank]})
    torch.set_num_threads(settings["threads"])
    torch.manual_seed(settings["seed"])
    model = Decoder(settings["model"])
    if ranks > 1:
        dist.init_process_group("gloo", init_method=f"file://{settings['store']}", rank=rank, world_size=ranks)
        model = nn.parallel.DistributedDataParallel(model, gradient_as_bucket_view=True)
    optimizer = make_optimizer(model.parameters(), settings["optimizer"], settings["shards"] and ranks > 1)
    tokens = load_tokens(settings["data"])
    generator = torch.Generator().manual_seed(settings["seed"] + rank)
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=settings["precision"] == "bf16")

    b, s = settings["micro_batch"], settings["model"]["context_length"]
    accumulation = settings["global_batch"] // ranks // b
    with open(settings["ledger"], "a", buffering=1) as ledger:
        for step in range(1, settings["steps"] + 1):
            start = time.perf_counter()
            loss_sum = 0.0
            for micro_step in range(accumulation):
                inputs, targets = next_batch(tokens, b, s, generator)
                last = micro_step == accumulation - 1
                with contextlib.nullcontext() if last or ranks == 1 else model.no_sync():
                    with autocast:
                        loss = model(inputs, targets) / accumulation
                    loss.backward()
                loss_sum += loss.item()
            if settings["clip_norm"] is not None:
                nn.utils.clip_grad_norm_(model.parameters(), float(settings["clip_norm"]))
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            seconds = time.perf_counter() - start
            ledger.write(json.dumps(dict(
                step=step, rank=rank, loss=loss_sum, tokens=accumulation * b * s,
                seconds=dict(total=seconds), bytes=dict(rss_peak=peak_resident_bytes()))) + "\n")
    if ranks > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
