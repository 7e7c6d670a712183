#!/usr/bin/env python3
"""Write PyTorch's answers for small Transformers into Tests/Fixtures/transformer/.

    python3 -m venv /tmp/fixtures && /tmp/fixtures/bin/pip install torch numpy
    /tmp/fixtures/bin/python Tests/Fixtures/make-transformer-fixtures.py [NAME ...]

Each shape, or each of the named ones, gives NAME.safetensors (parameters/*, gradients/* of the mean loss, inputs, targets, logits) and NAME.json
(model and train configuration in the keys of the YAML files, mean loss, losses of ten training steps). Everything
is computed in float64 and stored as float32; `float32_error` in the JSON says how far PyTorch's own float32 is
from that.

Of an encoder-decoder there are `sources` and `source_lengths`, too, and losses and gradients have label smoothing where the
training settings do.

Shapes: b sequences, s tokens each (S of sources), h d_model, f d_ff, a heads, V vocabulary.
"""

import json
import math
import struct
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

OUTPUT = Path(__file__).resolve().parent / "transformer"
TRAINING_STEPS = 10
NORM_EPSILON = 1e-5
IGNORED = -1

CASES = [
    dict(name="small", num_layers=2, d_model=24, num_heads=3, d_ff=96, context_length=19, vocab_size=61,
         activation="gelu", tie_embeddings=True, batch=3, ignored_fraction=0.0),
    dict(name="untied-erf", num_layers=1, d_model=20, num_heads=5, d_ff=52, context_length=12, vocab_size=67,
         activation="gelu_erf", tie_embeddings=False, batch=2, ignored_fraction=0.0),
    dict(name="relu-wide", num_layers=3, d_model=32, num_heads=2, d_ff=40, context_length=33, vocab_size=256,
         activation="relu", tie_embeddings=True, batch=2, ignored_fraction=0.0),
    dict(name="ignored", num_layers=2, d_model=28, num_heads=4, d_ff=60, context_length=17, vocab_size=53,
         activation="gelu", tie_embeddings=True, batch=4, ignored_fraction=0.4),
    dict(name="llama", num_layers=2, d_model=48, num_heads=6, num_kv_heads=2, d_ff=44, context_length=21,
         vocab_size=59, norm_type="rms", norm_epsilon=1e-6, positions="rotary", activation="silu", gated=True,
         biases=False, tie_embeddings=False, batch=3, ignored_fraction=0.1),
    dict(name="vaswani", num_layers=2, d_model=30, num_heads=3, d_ff=50, context_length=18, vocab_size=57,
         norm="post", final_norm=False, positions="sinusoidal", scale_embeddings=True, activation="relu",
         batch=2, ignored_fraction=0.0),
    dict(name="post-gated", num_layers=2, d_model=24, num_heads=4, num_kv_heads=1, d_ff=35, context_length=70,
         vocab_size=41, norm="post", final_norm=True, activation="gelu_erf", gated=True, biases=False, batch=2,
         ignored_fraction=0.2),
    dict(name="rms-biased", num_layers=3, d_model=20, num_heads=5, num_kv_heads=5, d_ff=36, context_length=13,
         vocab_size=47, norm_type="rms", norm_epsilon=1e-3, final_norm=False, positions="rotary",
         rotary_base=500.0, scale_embeddings=True, activation="silu", tie_embeddings=False, batch=2,
         ignored_fraction=0.0),
    dict(name="bert", family="encoder", num_layers=2, d_model=24, num_heads=3, d_ff=56, context_length=75,
         vocab_size=63, norm="post", final_norm=False, norm_epsilon=1e-12, token_types=2, embedding_norm=True,
         head_transform=True, activation="gelu_erf", batch=3, lengths=[75, 1, 40], ignored_fraction=0.7),
    dict(name="encoder-pre", family="encoder", num_layers=2, d_model=32, num_heads=4, num_kv_heads=2, d_ff=30,
         context_length=23, vocab_size=43, norm_type="rms", positions="rotary", activation="silu", gated=True,
         embedding_norm=True, head_transform=True, tie_embeddings=False, batch=2, lengths=[23, 16],
         ignored_fraction=0.5),
    dict(name="encoder-plain", family="encoder", num_layers=2, d_model=20, num_heads=2, d_ff=44, context_length=19,
         vocab_size=39, norm="post", final_norm=True, positions="sinusoidal", activation="relu", batch=2,
         ignored_fraction=0.5),
    dict(name="marian", family="encoder-decoder", num_layers=2, encoder_layers=3, d_model=24, num_heads=3, d_ff=40,
         context_length=18, source_length=27, vocab_size=53, norm="post", final_norm=False, positions="sinusoidal",
         scale_embeddings=True, activation="relu", batch=3, source_lengths=[27, 1, 14], ignored_fraction=0.3,
         label_smoothing=0.1),
    dict(name="seq2seq-pre", family="encoder-decoder", num_layers=3, encoder_layers=2, d_model=20, num_heads=4,
         d_ff=36, context_length=70, source_length=66, vocab_size=47, norm="pre", final_norm=True,
         activation="gelu", share_embeddings=False, tie_embeddings=False, batch=2, source_lengths=[65, 66],
         ignored_fraction=0.0),
    dict(name="seq2seq-gated", family="encoder-decoder", num_layers=1, encoder_layers=1, d_model=32, num_heads=4,
         num_kv_heads=2, d_ff=24, context_length=15, source_length=9, vocab_size=41, norm="post", final_norm=True,
         norm_type="rms", positions="rotary", activation="silu", gated=True, biases=False, embedding_norm=True,
         head_transform=True, token_types=2, share_embeddings=False, batch=2, source_lengths=[4, 9],
         ignored_fraction=0.2, label_smoothing=0.3),
]

# Those of GPT-2.
DEFAULTS = dict(norm="pre", norm_type="layer", final_norm=True, norm_epsilon=NORM_EPSILON, positions="learned",
                rotary_base=10000.0, scale_embeddings=False, gated=False, biases=True, tie_embeddings=True,
                family="decoder", token_types=0, embedding_norm=False, head_transform=False, encoder_layers=0,
                source_length=0, share_embeddings=True)

ACTIVATIONS = {
    "gelu": lambda x: F.gelu(x, approximate="tanh"),
    "gelu_erf": F.gelu,
    "relu": F.relu,
    "silu": F.silu,
}


def layout(case):
    """Names and shapes of the parameters, in the order of the parameter arena."""
    h, f, V = case["d_model"], case["d_ff"], case["vocab_size"]
    keys = 2 * case["num_kv_heads"] * (h // case["num_heads"])

    def linear(name, outputs, inputs):
        yield name + ".weight", (outputs, inputs)
        if case["biases"]:
            yield name + ".bias", (outputs,)

    def norm(name):
        yield name + ".weight", (h,)
        if case["norm_type"] == "layer" and case["biases"]:
            yield name + ".bias", (h,)

    def attention(prefix):
        yield from linear(prefix + "attention.qkv", h + keys, h)
        yield from linear(prefix + "attention.output", h, h)

    def cross_attention(prefix):
        yield from linear(prefix + "cross_attention.query", h, h)
        yield from linear(prefix + "cross_attention.key_value", keys, h)
        yield from linear(prefix + "cross_attention.output", h, h)

    def mlp(prefix):
        yield from linear(prefix + ("mlp.gate_up" if case["gated"] else "mlp.up"), f * (1 + case["gated"]), h)
        yield from linear(prefix + "mlp.down", h, f)

    def stack(prefix, layers, s, branches, has_tokens):
        if has_tokens:
            yield prefix + "token_embedding.weight", (V, h)
        if case["positions"] == "learned":
            yield prefix + "position_embedding.weight", (s, h)
        if case["token_types"]:
            yield prefix + "token_type_embedding.weight", (case["token_types"], h)
        if case["embedding_norm"]:
            yield from norm(prefix + "embedding_norm")
        for i in range(layers):
            layer = f"{prefix}layers.{i}."
            for branch, name in branches:
                if case["norm"] == "pre":
                    yield from norm(f"{layer}{name}_norm")
                yield from branch(layer)
                if case["norm"] == "post":
                    yield from norm(f"{layer}{name}_norm")
        if case["final_norm"]:
            yield from norm(prefix + "final_norm")

    own = [(attention, "attention"), (mlp, "mlp")]
    if case["family"] == "encoder-decoder":
        shares = case["share_embeddings"]
        if shares:
            yield "token_embedding.weight", (V, h)
        yield from stack("encoder.", case["encoder_layers"], case["source_length"], own, not shares)
        both = [own[0], (cross_attention, "cross_attention"), own[1]]
        yield from stack("decoder.", case["num_layers"], case["context_length"], both, not shares)
    else:
        yield from stack("", case["num_layers"], case["context_length"], own, True)
    if case["head_transform"]:
        yield from linear("head.dense", h, h)
        yield from norm("head.norm")
    if not case["tie_embeddings"]:
        yield "head.weight", (V, h)
    if case["head_transform"] and case["biases"]:
        yield "head.bias", (V,)


def initial_parameters(case, random):
    """Larger than a real initialization, biases and norms included, so that every gradient is far from zero."""
    values = {}
    for name, shape in layout(case):
        noise = random.standard_normal(shape)
        if name.endswith("norm.weight"):
            values[name] = 1 + 0.2 * noise
        elif name.endswith("bias"):
            values[name] = 0.1 * noise
        elif "embedding" in name or name == "head.weight":
            values[name] = 0.4 * noise
        else:
            values[name] = noise / math.sqrt(shape[1])
    return {name: value.astype(np.float32) for name, value in values.items()}


def sinusoids(s, h):
    """[s,h], sines before cosines, as Marian orders them."""
    angles = torch.arange(s, dtype=torch.float64)[:, None] / 10000 ** (torch.arange(0, h, 2, dtype=torch.float64) / h)
    return torch.cat([angles.sin(), angles.cos()], dim=1)[:, :h]


def rotated(x, base):
    """Heads x [b,a,s,d] turned by their positions, as in Hugging Face's Llama."""
    s, d = x.shape[2:]
    frequencies = 1 / base ** (torch.arange(0, d, 2, dtype=torch.float64) / d)
    angles = torch.arange(s, dtype=torch.float64)[:, None] * frequencies
    cos, sin = (torch.cat([part, part], dim=1).to(x.dtype) for part in (angles.cos(), angles.sin()))
    half = torch.cat([-x[..., d // 2:], x[..., :d // 2]], dim=3)
    return x * cos + half * sin


def forward(case, p, inputs, sources=None):
    """Logits [b,s,V] for inputs [b,s], of an encoder-decoder with sources [b,S]."""
    h, a, kv = case["d_model"], case["num_heads"], case["num_kv_heads"]
    d = h // a
    activation = ACTIVATIONS[case["activation"]]

    def linear(x, name):
        return F.linear(x, p[name + ".weight"], p.get(name + ".bias"))

    def norm(x, name):
        if case["norm_type"] == "rms":
            return F.rms_norm(x, (h,), p[name + ".weight"], case["norm_epsilon"])
        return F.layer_norm(x, (h,), p[name + ".weight"], p.get(name + ".bias"), case["norm_epsilon"])

    def heads(part):
        return part.unflatten(2, (-1, d)).transpose(1, 2)

    def attend(q, k, v, visible):
        k, v = (part.repeat_interleave(a // kv, dim=1) for part in (k, v))
        scores = (q @ k.transpose(2, 3)) / math.sqrt(d)
        probabilities = scores.masked_fill(~visible, -math.inf).softmax(dim=3)
        return (probabilities @ v).transpose(1, 2).flatten(2)

    def attention(visible):
        def branch(x, prefix):
            q, k, v = map(heads, linear(x, prefix + "attention.qkv").split([h, kv * d, kv * d], dim=2))
            if case["positions"] == "rotary":
                q, k = rotated(q, case["rotary_base"]), rotated(k, case["rotary_base"])
            return linear(attend(q, k, v, visible), prefix + "attention.output")
        return branch

    def cross_attention(memory, visible):
        def branch(x, prefix):
            q = heads(linear(x, prefix + "cross_attention.query"))
            k, v = map(heads, linear(memory, prefix + "cross_attention.key_value").chunk(2, dim=2))
            return linear(attend(q, k, v, visible), prefix + "cross_attention.output")
        return branch

    def mlp(x, prefix):
        if not case["gated"]:
            return linear(activation(linear(x, prefix + "mlp.up")), prefix + "mlp.down")
        gate, up = linear(x, prefix + "mlp.gate_up").chunk(2, dim=2)
        return linear(activation(gate) * up, prefix + "mlp.down")

    def stack(prefix, tokens, layers, embedding, branches):
        x = F.embedding(tokens, embedding)
        if case["scale_embeddings"]:
            x = x * math.sqrt(h)
        if case["positions"] == "learned":
            x = x + p[prefix + "position_embedding.weight"][:tokens.shape[1]]
        if case["positions"] == "sinusoidal":
            x = x + sinusoids(tokens.shape[1], h).to(x.dtype)
        if case["token_types"]:
            x = x + p[prefix + "token_type_embedding.weight"][0]
        if case["embedding_norm"]:
            x = norm(x, prefix + "embedding_norm")
        for i in range(layers):
            layer = f"{prefix}layers.{i}."
            for branch, name in branches:
                if case["norm"] == "pre":
                    x = x + branch(norm(x, f"{layer}{name}_norm"), layer)
                else:
                    x = norm(x + branch(x, layer), f"{layer}{name}_norm")
        return norm(x, prefix + "final_norm") if case["final_norm"] else x

    def within(length, lengths):
        return (torch.arange(length) < torch.tensor(lengths)[:, None])[:, None, None, :]

    s = inputs.shape[1]
    past = torch.ones(s, s, dtype=torch.bool).tril()
    if case["family"] == "encoder-decoder":
        shared = p.get("token_embedding.weight")
        embeddings = [p.get(side + "token_embedding.weight", shared) for side in ("encoder.", "decoder.")]
        visible = within(sources.shape[1], case["source_lengths"])
        memory = stack("encoder.", sources, case["encoder_layers"], embeddings[0],
                       [(attention(visible), "attention"), (mlp, "mlp")])
        x = stack("decoder.", inputs, case["num_layers"], embeddings[1],
                  [(attention(past), "attention"), (cross_attention(memory, visible), "cross_attention"),
                   (mlp, "mlp")])
        embedding = embeddings[1]
    else:
        embedding = p["token_embedding.weight"]
        visible = past if case["family"] == "decoder" else within(s, case["lengths"])
        x = stack("", inputs, case["num_layers"], embedding, [(attention(visible), "attention"), (mlp, "mlp")])
    head = embedding if case["tie_embeddings"] else p["head.weight"]
    if case["head_transform"]:
        x = norm(activation(linear(x, "head.dense")), "head.norm")
    return F.linear(x, head, p.get("head.bias"))


def mean_loss(case, logits, targets):
    return F.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, label_smoothing=case["label_smoothing"])


def as_leaves(parameters, dtype):
    return {name: torch.tensor(value, dtype=dtype, requires_grad=True) for name, value in parameters.items()}


def gradients(case, parameters, inputs, targets, sources, dtype):
    p = as_leaves(parameters, dtype)
    logits = forward(case, p, inputs, sources)
    loss = mean_loss(case, logits, targets)
    loss.backward()
    return logits.detach(), loss.item(), {name: tensor.grad for name, tensor in p.items()}


def train(case, settings, parameters, inputs, targets, sources, dtype):
    """Loss and gradient norm before each of ten optimizer steps on one batch."""
    p = as_leaves(parameters, dtype)
    optimizer = settings["optimizer"]
    groups = [
        dict(params=[t for t in p.values() if t.ndim >= 2], weight_decay=optimizer["weight_decay"]),
        dict(params=[t for t in p.values() if t.ndim < 2], weight_decay=0.0),
    ]
    adamw = torch.optim.AdamW(
        groups, lr=optimizer["learning_rate"], betas=optimizer["betas"], eps=optimizer["epsilon"])
    losses, norms = [], []
    for _ in range(settings["steps"]):
        adamw.zero_grad()
        loss = mean_loss(case, forward(case, p, inputs, sources), targets)
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(p.values(), settings["clip_norm"]).item())
        losses.append(loss.item())
        adamw.step()
    return losses, norms


def write_safetensors(path, tensors):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, array in tensors.items():
        dtype = {"float32": "F32", "int32": "I32"}[array.dtype.name]
        header[name] = dict(dtype=dtype, shape=list(array.shape), data_offsets=[offset, offset + array.nbytes])
        offset += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    data = b"".join(array.astype(array.dtype.newbyteorder("<")).tobytes() for array in tensors.values())
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def train_settings(batch, label_smoothing):
    return dict(
        steps=TRAINING_STEPS, global_batch=batch, micro_batch=batch, seed=1, clip_norm=1.0,
        label_smoothing=label_smoothing,
        optimizer=dict(name="adamw", learning_rate=1e-3, betas=[0.9, 0.95], epsilon=1e-8, weight_decay=0.1,
                       momentum=0.0, nesterov=False, alpha=0.99),
        schedule=dict(name="constant", warmup_steps=0, final_fraction=1.0),
        evaluate_every=0, checkpoint_every=0)


def model_settings(case):
    keys = ["num_layers", "d_model", "num_heads", "num_kv_heads", "d_ff", "context_length", "vocab_size", "activation"]
    return dict(
        **{key: case[key] for key in keys + list(DEFAULTS)}, dropout=0.0, attention="recomputed")


def completed(case):
    return DEFAULTS | dict(
        num_kv_heads=case["num_heads"], lengths=[case["context_length"]] * case["batch"], label_smoothing=0.0) | case


def make(case, seed):
    case = completed(case)
    random = np.random.default_rng(seed)
    shape = (case["batch"], case["context_length"])
    inputs = random.integers(0, case["vocab_size"], shape, dtype=np.int32)
    targets = random.integers(0, case["vocab_size"], shape, dtype=np.int32)
    targets[random.random(shape) < case["ignored_fraction"]] = IGNORED
    for sequence, length in enumerate(case["lengths"]):
        targets[sequence, length:] = IGNORED
    if case["family"] != "encoder" and case["ignored_fraction"] > 0:
        targets[-1] = IGNORED  # a micro-batch of one sequence then has no valid target at all
    parameters = initial_parameters(case, random)
    sources = None
    if case["family"] == "encoder-decoder":
        sources = random.integers(0, case["vocab_size"], (case["batch"], case["source_length"]), dtype=np.int32)
    settings = train_settings(case["batch"], case["label_smoothing"])

    batch = [None if part is None else torch.from_numpy(part).long() for part in (inputs, targets, sources)]
    logits, loss, grads = gradients(case, parameters, *batch, torch.float64)
    losses, norms = train(case, settings, parameters, *batch, torch.float64)
    logits32, loss32, grads32 = gradients(case, parameters, *batch, torch.float32)
    losses32, _ = train(case, settings, parameters, *batch, torch.float32)
    relative = {name: ((grads32[name] - grads[name]).norm() / grads[name].norm().clamp(min=1e-9)).item() for name in grads}

    tensors = {f"parameters/{name}": value for name, value in parameters.items()}
    tensors |= {f"gradients/{name}": grad.float().numpy() for name, grad in grads.items()}
    if case["family"] == "encoder":
        tensors |= dict(lengths=np.array(case["lengths"], dtype=np.int32))
    if case["family"] == "encoder-decoder":
        tensors |= dict(sources=sources, source_lengths=np.array(case["source_lengths"], dtype=np.int32))
    tensors |= dict(inputs=inputs, targets=targets, logits=logits.float().numpy())
    write_safetensors(OUTPUT / f"{case['name']}.safetensors", tensors)

    report = dict(
        model=model_settings(case), train=settings,
        parameter_names=list(parameters), valid_targets=int((targets != IGNORED).sum()),
        mean_loss=loss, losses=losses, gradient_norms=norms,
        float32_error=dict(
            logits_absolute=(logits32 - logits).abs().max().item(),
            loss_absolute=abs(loss32 - loss),
            gradient_relative=max(relative.values()),
            losses_absolute=max(abs(x - y) for x, y in zip(losses32, losses))),
        pytorch=torch.__version__)
    (OUTPUT / f"{case['name']}.json").write_text(json.dumps(report, indent=2) + "\n")
    worst = max(relative, key=relative.get)
    print(f"{case['name']:12} N {sum(v.size for v in parameters.values()):6}  loss {losses[0]:.4f} -> {losses[-1]:.4f}"
          f"  norm {norms[0]:.2f}  float32: logits {report['float32_error']['logits_absolute']:.1e}"
          f"  gradients {relative[worst]:.1e} ({worst})")


if __name__ == "__main__":
    torch.set_num_threads(1)
    OUTPUT.mkdir(exist_ok=True)
    for index, case in enumerate(CASES):
        if case["name"] in sys.argv[1:] or len(sys.argv) == 1:
            make(case, seed=100 + index)
