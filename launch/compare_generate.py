"""Generates greedily with Hugging Face's generate and with Lockstep, the same random models in fp32 on as many threads, in
turn; prints tokens/s of both and their ratio, and whether the tokens are the same."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
ROOT = Path(__file__).resolve().parent.parent
BENCHMARKS = ROOT / ".build/release/benchmarks"

# In GPT-2's keys: GPT-2 small, and the shape of configs/w1.yaml.
MODELS = {
    "gpt2": {},
    "w1": dict(n_layer=6, n_embd=384, n_head=6, n_positions=256, vocab_size=256),
}


def arguments():
    parser = argparse.ArgumentParser(prog="launch/compare-generate", description=__doc__)
    parser.add_argument("--models", default="gpt2,w1", help=f"of {', '.join(MODELS)} (default: %(default)s)")
    parser.add_argument("--batches", default="1,16", help="numbers of prompts (default: %(default)s)")
    parser.add_argument("--weights", default="fp32,bf16",
                        help="what Lockstep reads of the weights (default: %(default)s)")
    parser.add_argument("--prompt", type=int, default=32, help="tokens of a prompt (default: %(default)s)")
    parser.add_argument("--tokens", type=int, default=64, help="tokens behind it (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)),
                        help="threads of each (default: all, %(default)s)")
    return parser.parse_args()


def generate_with_transformers(model, prompts, tokens):
    import torch

    start = time.perf_counter()
    output = model.generate(
        torch.tensor(prompts), attention_mask=torch.ones(len(prompts), len(prompts[0]), dtype=torch.long),
        max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False, pad_token_id=0)
    seconds = time.perf_counter() - start
    return [row[len(prompts[0]):] for row in output.tolist()], seconds


def generate_with_lockstep(folder, prompts, tokens, threads, weights):
    text = "".join(" ".join(map(str, prompt)) + "\n" for prompt in prompts)
    result = subprocess.run(
        [BENCHMARKS, "generation", folder, "--tokens", str(tokens), "--threads", str(threads)]
        + (["--bf16"] if weights == "bf16" else []), input=text,
        capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"compare-generate: {result.stderr}")
    report = json.loads(result.stdout)
    return report["tokens"], report["promptSeconds"][0] + report["stepSeconds"][0]


def compare(name, options):
    """Prints a row for every batch and kind of weights. Returns in how many the tokens differ."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(1)
    model = GPT2LMHeadModel(GPT2Config(bos_token_id=None, eos_token_id=None, **MODELS[name])).eval()
    differences = 0
    with tempfile.TemporaryDirectory(prefix="lockstep-generate-") as folder:
        model.save_pretrained(folder)
        for batch, weights in ((int(b), w) for b in options.batches.split(",") for w in options.weights.split(",")):
            prompts = torch.randint(0, model.config.vocab_size, (batch, options.prompt)).tolist()
            generate_with_transformers(model, prompts, 2)
            speeds, same = [], True
            for _ in range(options.rounds):
                theirs, their_seconds = generate_with_transformers(model, prompts, options.tokens)
                ours, our_seconds = generate_with_lockstep(folder, prompts, options.tokens, options.threads, weights)
                same = same and theirs == ours
                speeds.append((batch * options.tokens / their_seconds, batch * options.tokens / our_seconds))
            ratios = [b / a for a, b in speeds]
            theirs, ours = (statistics.median(speed[i] for speed in speeds) for i in (0, 1))
            print(f"{name:5}  {batch:5d}  {weights:7s}  {theirs:18.1f}  {ours:14.1f}  {statistics.median(ratios):.2f} "
                  f"({min(ratios):.2f}–{max(ratios):.2f})  {'the same' if same else 'DIFFERENT'}", flush=True)
            differences += not same
    return differences


def main():
    options = arguments()
    names = options.models.split(",")
    if unknown := [name for name in names if name not in MODELS]:
        sys.exit(f"compare-generate: --models {unknown[0]}: known are {', '.join(MODELS)}")
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    import torch

    torch.set_num_threads(options.threads)
    print(f"random weights, fp32 in transformers, {options.threads} threads; {options.prompt} tokens of a prompt, "
          f"{options.tokens} behind it; medians of {options.rounds} rounds\n")
    print("model  batch  weights  transformers tok/s  lockstep tok/s  ratio (range)       tokens", flush=True)
    sys.exit(1 if sum([compare(name, options) for name in names]) else 0)


main()
