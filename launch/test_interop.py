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
from transformers import (AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM, AutoTokenizer, BertConfig,
                          BertForMaskedLM, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, MarianConfig,
                          MarianMTModel)

ROOT = Path(__file__).resolve().parent.parent
LOCKSTEP = ROOT / ".build/release/lockstep"
BENCHMARKS = ROOT / ".build/release/benchmarks"
LARGEST_DIFFERENCE = 1e-4
NEWLINE = 10
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


def logits_of_lockstep(model, tokens, source):
    lines = [line for line in (source, tokens) if len(line)]
    numbers = run(BENCHMARKS, "logits", model, stdin="\n".join(" ".join(map(str, line)) for line in lines).encode())
    return np.frombuffer(numbers, np.float32).reshape(len(tokens), -1)


def compare_logits(what, folder, kind):
    """The folder's model in transformers against Lockstep. Returns transformers' model."""
    auto = {"bert": AutoModelForMaskedLM, "marian": AutoModelForSeq2SeqLM}.get(kind, AutoModelForCausalLM)
    model, info = auto.from_pretrained(folder, output_loading_info=True, dtype=torch.float32)
    keys = {name: sorted(map(str, info[name])) for name in ("missing_keys", "unexpected_keys", "mismatched_keys")}
    report(f"{what}: keys", not any(keys.values()), "all known" if not any(keys.values()) else str(keys))
    config = model.config
    random, length = np.random.default_rng(1), config.max_position_embeddings
    tokens = random.integers(0, config.vocab_size, length)
    source = random.integers(0, config.vocab_size, length - 3 if kind == "marian" else 0)
    with torch.no_grad():
        inputs = [torch.tensor(line)[None] for line in (source, tokens) if len(line)]
        names = ("input_ids", "decoder_input_ids")
        expected = model.eval()(**dict(zip(names, inputs))).logits[0].numpy()
    difference = float(np.abs(logits_of_lockstep(folder, tokens, source) - expected).max())
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


def pairs_file(folder, corpus):
    """Words, and the same in the opposite order."""
    words, random = Path(corpus).read_text().split(), np.random.default_rng(3)
    path = Path(f"{folder}/pairs.tsv")
    lines = [random.choice(words, random.integers(1, 3)) for _ in range(3000)]
    path.write_text("".join(f"{' '.join(line)}\t{' '.join(line[::-1])}\n" for line in lines))
    return path, [" ".join(line) for line in lines[:12]] + ["zzz", "light  upon", "water "]


def without_rest(tokens, ends):
    """Up to the first of the tokens that end a text."""
    for place, token in enumerate(tokens):
        if token in ends:
            return tokens[:place + 1]
    return tokens


def compare_generation(what, folder, model, sources, ends):
    """Greedily, token for token: one source at a time, and all at once with padding. Returns what transformers wrote."""
    length = model.generation_config.max_length - 2
    ours = json.loads(run(BENCHMARKS, "generation", folder, "--tokens", length,
                          stdin="".join(" ".join(map(str, source)) + "\n" for source in sources).encode()))["tokens"]
    whole = [model.generate(torch.tensor([source]))[0].tolist()[1:] for source in sources]
    theirs = [without_rest(tokens, ends)[:length] for tokens in whole]
    same = sum(without_rest(a, ends) == b for a, b in zip(ours, theirs))
    report(f"{what}: generate", same == len(sources),
           f"{same} of {len(sources)} targets of {min(map(len, theirs))} to {max(map(len, theirs))} tokens, token for token")
    most = max(map(len, sources))
    padded = torch.tensor([source + [model.config.pad_token_id] * (most - len(source)) for source in sources])
    mask = torch.tensor([[1] * len(source) + [0] * (most - len(source)) for source in sources])
    together = [without_rest(tokens[1:], ends)[:length]
                for tokens in model.generate(padded, attention_mask=mask).tolist()]
    report(f"{what}: generate, padded", together == theirs, f"{sum(a == b for a, b in zip(together, theirs))} targets")
    return whole


def marian_from_lockstep(folder, corpus, tokenizer, shared, tied):
    what = f"lockstep to transformers, marian, {tokenizer}, {embeddings(shared, tied)}"
    pairs, sources = pairs_file(folder, corpus)
    file, vocabulary = "bytes", 259
    if tokenizer == "BPE":
        run(LOCKSTEP, "data", "train-tokenizer", corpus, "--vocab-size", 290, "--out", f"{folder}/tokenizer")
        file, vocabulary = f"{folder}/tokenizer/tokenizer.json", 290
    Path(f"{folder}/config-of-run.yaml").write_text(f"""
name: interop
model: {{family: encoder-decoder, num_layers: 2, encoder_layers: 3, d_model: 48, num_heads: 3, d_ff: 100, context_length: 23,
        source_length: 25, vocab_size: {vocabulary}, norm: post, positions: sinusoidal, activation: relu,
        share_embeddings: {str(shared).lower()}, tie_embeddings: {str(tied).lower()}}}
data: {{task: pairs, path: {pairs}, tokenizer: {file}}}
train: {{steps: 150, global_batch: 32, optimizer: {{learning_rate: 3e-3}}, schedule: {{warmup_steps: 20}}}}
""")
    train(f"{folder}/config-of-run.yaml", f"{folder}/run")
    run(LOCKSTEP, "export", f"{folder}/run", f"{folder}/model")
    model = compare_logits(what, f"{folder}/model", "marian")
    tokenizer = AutoTokenizer.from_pretrained(f"{folder}/model")
    ids = [tokenizer(source)["input_ids"] for source in sources]
    ends = model.generation_config.eos_token_id
    whole = compare_generation(what, f"{folder}/model", model, ids, ends if isinstance(ends, list) else [ends])
    written = run(LOCKSTEP, "generate", f"{folder}/run", *(part for text in sources for part in ("--prompt", text)))
    theirs = [tokenizer.decode(tokens).split("\n")[0] for tokens in whole]
    ours = written.decode(errors="replace").split("\n")[:len(sources)]
    right = sum(a == " ".join(b.split()[::-1]) for a, b in zip(ours, sources))
    report(f"{what}: answers", ours == theirs, f"{sum(a == b for a, b in zip(ours, theirs))} texts, {right} of them right")


def embeddings(shared, tied):
    return f"{'one embedding' if shared else 'two embeddings'}, {'tied' if tied else 'untied'}"


def marian_from_transformers(folder, corpus, activation, shared, tied):
    what = f"transformers to lockstep, marian, {activation}, {embeddings(shared, tied)}"
    torch.manual_seed(1)
    model = MarianMTModel(MarianConfig(
        vocab_size=300, d_model=40, encoder_layers=2, decoder_layers=3, encoder_attention_heads=5,
        decoder_attention_heads=5, encoder_ffn_dim=72, decoder_ffn_dim=72, max_position_embeddings=32,
        activation_function=activation, scale_embedding=shared, share_encoder_decoder_embeddings=shared,
        tie_word_embeddings=tied, decoder_start_token_id=NEWLINE, eos_token_id=NEWLINE, pad_token_id=NEWLINE,
        forced_eos_token_id=None))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "embed_positions" not in name:  # So that targets depend on their sources.
                parameter.normal_(float("norm.weight" in name), 0.05 if "norm" in name else 0.3)
    model.generation_config.max_length = 32
    model.save_pretrained(f"{folder}/model")
    model = compare_logits(what, f"{folder}/model", "marian")
    random = np.random.default_rng(4)
    sources = [random.integers(0, 300, random.integers(1, 31)).tolist() + [NEWLINE] for _ in range(8)]
    compare_generation(what, f"{folder}/model", model, sources, [NEWLINE])

    pairs, _ = pairs_file(folder, corpus)
    run(LOCKSTEP, "import", f"{folder}/model", "--out", f"{folder}/fine-tune.yaml")
    train(f"{folder}/fine-tune.yaml", f"{folder}/run", f"data.path={pairs}", "train.steps=1",
          "train.schedule.warmup_steps=0", "train.optimizer.learning_rate=1e-30", "train.optimizer.weight_decay=0")
    run(LOCKSTEP, "export", f"{folder}/run", f"{folder}/back")
    report(f"{what}: there and back", same_tensors(tensors(f"{folder}/model"), tensors(f"{folder}/back")),
           f"{len(tensors(f'{folder}/back'))} tensors byte by byte")

    # The pairs of the last twentieth of the file.
    loss = json.loads(open(f"{folder}/run/evaluations.jsonl").readline())["validation_loss"]
    text = pairs.read_bytes()
    start = text.index(b"\n", len(text) - round(len(text) * 0.05) - 1) + 1
    total = count = 0
    with torch.no_grad():
        for line in text[start:].splitlines():
            source, target = (torch.tensor([list(part) + [NEWLINE]]) for part in line.split(b"\t"))
            beginning = torch.cat([torch.tensor([[NEWLINE]]), target[:, :-1]], dim=1)
            logits = model(input_ids=source, decoder_input_ids=beginning).logits.double()
            total += torch.nn.functional.cross_entropy(logits[0], target[0], reduction="sum").item()
            count += target.shape[1]
    report(f"{what}: validation loss", abs(loss - total / count) < 1e-4 * loss, f"{loss:.5f} and {total / count:.5f}")


def main():
    with tempfile.TemporaryDirectory(prefix="lockstep-interop-") as root:
        corpus = f"{root}/corpus.txt"
        words = np.random.default_rng(2).choice("in the beginning was a word and light upon water".split(), 4000)
        Path(corpus).write_text(" ".join(words))
        number = 0

        def folder():
            nonlocal number
            number += 1
            Path(f"{root}/{number}").mkdir()
            return f"{root}/{number}"

        for exchange, kinds in ((from_lockstep, ("gelu", "gelu_erf", "relu", "llama", "bert")),
                                (from_transformers, ("gelu_new", "gelu", "relu", "llama", "bert"))):
            for kind, tied in zip(kinds, (True, False, True, False, True)):
                exchange(folder(), corpus, kind, tied)
        ways = [(True, True), (False, True), (False, False)]
        for tokenizer, way in zip(("bytes", "BPE", "BPE"), ways):
            marian_from_lockstep(folder(), corpus, tokenizer, *way)
        for activation, way in zip(("relu", "swish", "gelu"), ways):
            marian_from_transformers(folder(), corpus, activation, *way)
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    failures = sum(row[1] != "same" for row in rows)
    print(f"{len(rows) - failures} of {len(rows)} comparisons are the same")
    sys.exit(1 if failures else 0)


main()
