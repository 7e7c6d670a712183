"""Generates greedily with Hugging Face's generate and with Lockstep, the same random GPT-2 in fp32 on as many threads, in
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


def arguments():
    parser = argparse.ArgumentParser(prog="launch/compare-generate", description=__doc__)
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


def main():
    options = arguments()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    model = GPT2LMHeadModel(GPT2Config(bos_token_id=None, eos_token_id=None)).eval()
    differences = 0
    with tempfile.TemporaryDirectory(prefix="lockstep-generate-") as folder:
        model.save_pretrained(folder)
        print(f"gpt2 124M, random weights, fp32 in transformers, {options.threads} threads; {options.prompt} tokens of a prompt, "
              f"{options.tokens} behind it; medians of {options.rounds} rounds\n")
        print("batch  weights  transformers tok/s  lockstep tok/s  ratio (range)       tokens")
        for batch, weights in ((int(b), w) for b in options.batches.split(",") for w in options.weights.split(",")):
            prompts = torch.randint(0, 50257, (batch, options.prompt)).tolist()
            generate_with_transformers(model, prompts, 2)
            speeds, same = [], True
            for _ in range(options.rounds):
                theirs, their_seconds = generate_with_transformers(model, prompts, options.tokens)
                ours, our_seconds = generate_with_lockstep(folder, prompts, options.tokens, options.threads, weights)
                same = same and theirs == ours
                speeds.append((batch * options.tokens / their_seconds, batch * options.tokens / our_seconds))
            ratios = [b / a for a, b in speeds]
            theirs, ours = (statistics.median(speed[i] for speed in speeds) for i in (0, 1))
            print(f"{batch:5d}  {weights:7s}  {theirs:18.1f}  {ours:14.1f}  {statistics.median(ratios):.2f} "
                  f"({min(ratios):.2f}–{max(ratios):.2f})  {'the same' if same else 'DIFFERENT'}", flush=True)
            differences += not same
    sys.exit(1 if differences else 0)


main()
