"""Exchanges models between Lockstep and Hugging Face's transformers, both ways, and prints what came of it.

Every row is a comparison with its result; the exit code is 1 when one of them fails."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
import numpy as np
import torch
from safetensors import safe_open
from transformers import (AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer, BertConfig, BertForMaskedLM,
                          GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM)

ROOT = Path(__file__).resolve().parent.parent
LOCKSTEP = ROOT / ".build/release/lockstep"
BENCHMARKS = ROOT / ".build/release/benchmarks"
LARGEST_DIFFERENCE = 1e-4
TEXTS = ["In the beginning", "äöü € 你好 🙂🏳️‍🌈", "  two  spaces\n\ttab", "\x00\x7f", "ﷺ ́combined"]

rows = []


def report(what, passed, result):
    rows.append((what, "same" if passed else "DIFFERS", result))


def run(*arguments, stdin=None):
    result = subprocess.run([str(a) for a in arguments], capture_output=True, input=stdin)
    if result.returncode != 0:
        sys.exit(f"test-interop: {' '.join(map(str, arguments))} ended with {result.returncode}:\n"
                 + result.stderr.decode(errors="replace"))
    return result.stdout


def logits_of_lockstep(model, tokens):
    numbers = run(BENCHMARKS, "logits", model, stdin=" ".join(map(str, tokens)).encode())
    return np.frombuffer(numbers, np.float32).reshape(len(tokens), -1)


def compare_logits(what, folder, kind):
    """The folder's model in transformers against Lockstep. Returns transformers' model."""
    auto = AutoModelForMaskedLM if kind == "bert" else AutoModelForCausalLM
    model, info = auto.from_pretrained(folder, output_loading_info=True, dtype=torch.float32)
    keys = {name: sorted(map(str, info[name])) for name in ("missing_keys", "unexpected_keys", "mismatched_keys")}
    report(f"{what}: keys", not any(keys.values()), "all known" if not any(keys.values()) else str(keys))
    config = model.config
    tokens = np.random.default_rng(1).integers(0, config.vocab_size, config.max_position_embeddings)
    with torch.no_grad():
        expected = model.eval()(torch.tensor(tokens)[None]).logits[0].numpy()
    difference = float(np.abs(logits_of_lockstep(folder, tokens) - expected).max())
    report(f"{what}: logits", difference <= LARGEST_DIFFERENCE,
           f"largest difference {difference:.1e} of {np.abs(expected).max():.1f}")
    return model


def tensors(folder):
    with safe_open(f"{folder}/model.safetensors", "np") as file:
        return {name: file.get_tensor(name) for name in file.keys()}


def same_tensors(a, b):
    return a.keys() == b.keys() and all(
        a[n].shape == b[n].shape and a[n].dtype == b[n].dtype and a[n].tobytes() == b[n].tobytes() for n in a)


def train(config, folder, *settings):
    run("mpirun", "--oversubscribe", "-n", "2", LOCKSTEP, "train", config, "--out", folder, "--no-profile", *settings)


def configuration(folder, corpus, kind, tied):
    path = f"{folder}/config-of-run.yaml"
    model = {
        "llama": "activation: silu, gated: true, biases: false, norm_type: rms, positions: rotary, num_kv_heads: 1,\n"
                 "        norm_epsilon: 1e-6, rotary_base: 5000",
        "bert": "activation: gelu_erf, family: encoder, norm: post, norm_epsilon: 1e-12, token_types: 2,\n"
                "        embedding_norm: true, head_transform: true",
    }.get(kind, f"activation: {kind}")
    Path(path).write_text(f"""
name: interop
model: {{num_layers: 3, d_model: 48, num_heads: 3, d_ff: 100, context_length: 40, vocab_size: {257 if kind == 'bert' else 256},
        {model}, tie_embeddings: {str(tied).lower()}}}
data: {{path: {corpus}}}
train: {{steps: 20, global_batch: 8, optimizer: {{learning_rate: 1e-2}}}}
""")
    return path


def from_lockstep(folder, corpus, kind, tied):
    what = f"lockstep to transformers, {kind}, {'tied' if tied else 'untied'}"
    train(configuration(folder, corpus, kind, tied), f"{folder}/run")
    run(LOCKSTEP, "export", f"{folder}/run", f"{folder}/model")
    compare_logits(what, f"{folder}/model", kind)
    tokenizer = AutoTokenizer.from_pretrained(f"{folder}/model")
    wrong = [t for t in TEXTS if tokenizer(t)["input_ids"] != list(t.encode())
             or tokenizer.decode(list(t.encode())) != t]
    report(f"{what}: tokenizer", not wrong, f"{len(TEXTS) - len(wrong)} of {len(TEXTS)} texts")


def from_transformers(folder, corpus, kind, tied):
    what = f"transformers to lockstep, {kind}, {'tied' if tied else 'untied'}"
    torch.manual_seed(1)
    common = dict(vocab_size=300, tie_word_embeddings=tied, bos_token_id=None, eos_token_id=None)
    if kind == "llama":
        model = LlamaForCausalLM(LlamaConfig(
            hidden_size=40, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            intermediate_size=72, max_position_embeddings=32, rms_norm_eps=1e-5, pad_token_id=None, **common))
    elif kind == "bert":
        model = BertForMaskedLM(BertConfig(
            hidden_size=40, num_hidden_layers=2, num_attention_heads=5, intermediate_size=72,
            max_position_embeddings=32, **common))
    else:
        model = GPT2LMHeadModel(GPT2Config(
            n_positions=32, n_embd=40, n_layer=2, n_head=5, n_inner=None if tied else 72,
            activation_function=kind, **common))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.2)
    model.save_pretrained(f"{folder}/model")
    model = compare_logits(what, f"{folder}/model", kind)

    run(LOCKSTEP, "import", f"{folder}/model", "--out", f"{folder}/fine-tune.yaml")
    # A rate below what a number of the model can feel: the run ends with what it began with.
    train(f"{folder}/fine-tune.yaml", f"{folder}/run", f"data.path={corpus}", "train.steps=1",
          "train.schedule.warmup_steps=0", "train.optimizer.learning_rate=1e-30", "train.optimizer.weight_decay=0")
    run(LOCKSTEP, "export", f"{folder}/run", f"{folder}/back")
    report(f"{what}: there and back", same_tensors(tensors(f"{folder}/model"), tensors(f"{folder}/back")),
           f"{len(tensors(f'{folder}/back'))} tensors byte by byte")

    if kind == "bert":  # Which tokens the loss is of is drawn at random.
        return
    losses = [json.loads(line)["validation_loss"] for line in open(f"{folder}/run/evaluations.jsonl")]
    text = np.frombuffer(Path(corpus).read_bytes(), np.uint8).astype(np.int64)
    text, length = text[len(text) - round(len(text) * 0.05):], model.config.max_position_embeddings
    samples = (len(text) - 1) // length
    inputs = torch.tensor(text[:samples * length].reshape(samples, length))
    targets = torch.tensor(text[1:samples * length + 1].reshape(samples, length))
    with torch.no_grad():
        expected = torch.nn.functional.cross_entropy(
            model(inputs).logits.double().flatten(0, 1), targets.flatten()).item()
    report(f"{what}: validation loss", abs(losses[0] - expected) < 1e-4 * expected,
           f"{losses[0]:.5f} and {expected:.5f}")


def main():
    with tempfile.TemporaryDirectory(prefix="lockstep-interop-") as root:
        corpus = f"{root}/corpus.txt"
        words = np.random.default_rng(2).choice("in the beginning was a word and light upon water".split(), 4000)
        Path(corpus).write_text(" ".join(words))
        number = 0
        for exchange, kinds in ((from_lockstep, ("gelu", "gelu_erf", "relu", "llama", "bert")),
                                (from_transformers, ("gelu_new", "gelu", "relu", "llama", "bert"))):
            for kind, tied in zip(kinds, (True, False, True, False, True)):
                number += 1
                Path(f"{root}/{number}").mkdir()
                exchange(f"{root}/{number}", corpus, kind, tied)
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    failures = sum(row[1] != "same" for row in rows)
    print(f"{len(rows) - failures} of {len(rows)} comparisons are the same")
    sys.exit(1 if failures else 0)


main()
