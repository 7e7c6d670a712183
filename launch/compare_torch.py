"""Train the same models with Lockstep and with PyTorch DDP over gloo, alternately, and print the ratios.

Both sides get the same shape, batch, optimizer, clipping, text, ranks and threads, one rank bound to a core. Modes:
fp32 is `precision.matmul: highest` against fp32, high against fp32, and bf16 `medium` against autocast to bf16. Every
rank has the same share of the batch at every number of ranks; with `parallel.optimizer_sharding=true` both sides shard
(PyTorch with ZeroRedundancyOptimizer). Tokens per second come from the median step without the
first one; the first step is timed from process start; memory is the peak resident set of the largest rank. A ratio is
taken within a round, so that what else the machine does meets both sides.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from compare_torch_runs import (
    BAD_CONFIGURATION, CAPABILITY_LIMITS, INPUT_MISSING, MEASUREMENT_FAILED, ROOT, USAGE, fail, run_lockstep, run_torch)

# Overrides that make a workload of a configuration: GPT-2 at the batch that fits PyTorch into a small machine, on a text
# that is there.
WORKLOADS = {
    "w1": [],
    "gpt2-124m": ["model.context_length=256", "train.global_batch=8", "data.path=data/kjv.txt"],
}

# What each mode is for Lockstep (precision.matmul) and for PyTorch.
MODES = {"fp32": ("highest", "fp32"), "high": ("high", "fp32"), "bf16": ("medium", "bf16")}

# What a configuration may leave out and the PyTorch side must know.
DEFAULTS = {
    "model": {"activation": "gelu", "tie_embeddings": True, "dropout": 0.0},
    "train": {"seed": 1, "clip_norm": None, "optimizer": {
        "name": "adamw", "learning_rate": 1e-3, "betas": [0.9, 0.95], "epsilon": 1e-8, "weight_decay": 0.1}},
    "parallel": {"threads_per_rank": 1, "optimizer_sharding": False},
}

# Column of a summary, heading of the table, form of its values.
FIGURES = [
    ("tokens_per_second", "tokens/s", "{:,.0f}"),
    ("peak_rss_mib", "peak RSS MiB", "{:,.0f}"), ("first_step_seconds", "first step s", "{:,.2f}")]


def items(known=None):
    """Reads a list such as 1,2 or fp32,bf16."""
    def parse(text):
        values = text.split(",")
        if known is None and all(value.isdigit() and int(value) > 0 for value in values):
            return sorted({int(value) for value in values})
        if known is not None and all(value in known for value in values):
            return list(dict.fromkeys(values))
        raise argparse.ArgumentTypeError(f"{text}: expected a list of {', '.join(known or ['numbers above 0'])}")
    return parse


def parse_arguments():
    parser = argparse.ArgumentParser(
        prog="launch/compare-torch", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: launch/compare-torch w1 --modes bf16 --ranks 2 --rounds 3")
    parser.add_argument(
        "words", nargs="*", metavar="WORKLOAD | key=value",
        help="w1 and gpt2-124m (at context 256; both by default), or configuration files; overrides for both sides")
    parser.add_argument("--modes", type=items(MODES), default=list(MODES), help="default fp32,high,bf16")
    parser.add_argument("--ranks", type=items(), default=[1, 2],
                        help="numbers of ranks (default 1,2); the largest shares the configuration's batch")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of one run of each side (default 5)")
    parser.add_argument("--steps", type=int, default=4, help="optimizer steps of a run (default 4)")
    parser.add_argument("--torch-micro-batch", type=int, help="sequences per backward (default: a rank's whole share)")
    parser.add_argument("--out", default="runs/compare-torch", help="folder for compare-torch.txt and compare-torch.json")
    arguments = parser.parse_intermixed_args()
    if arguments.rounds < 1 or arguments.steps < 2:
        fail(USAGE, "--rounds must be at least 1 and --steps at least 2")
    arguments.overrides = [word for word in arguments.words if "=" in word]
    arguments.workloads = [word for word in arguments.words if "=" not in word] or list(WORKLOADS)
    for name in arguments.workloads:
        if not configuration(name).is_file():
            fail(INPUT_MISSING,
                 f"{configuration(name)}: no such configuration; name {', '.join(WORKLOADS)} or a YAML file")
    return arguments


def configuration(name):
    return ROOT / f"configs/{name}.yaml" if name in WORKLOADS else Path(name).resolve()


def merged(defaults, section):
    """The section over its defaults, key by key at every depth."""
    nested = {key: merged(defaults[key], value) if isinstance(defaults.get(key), dict) else value
              for key, value in (section or {}).items()}
    return defaults | nested


class Workload:
    """A model and batch that both sides train."""

    def __init__(self, name, arguments):
        import yaml

        self.path = configuration(name)
        self.overrides = [*WORKLOADS.get(name, []), *arguments.overrides]
        self.config = merged(DEFAULTS, yaml.safe_load(self.path.read_text()))
        for override in self.overrides:
            key, _, value = override.partition("=")
            if key.startswith("precision."):
                fail(USAGE, f"{override}: the precisions of a comparison are chosen by --modes")
            *sections, last = key.split(".")
            section = self.config
            for part in sections:
                section = section.setdefault(part, {})
            section[last] = yaml.safe_load(value)
        self.name = self.config["name"]
        self.check(arguments)
        self.share = self.config["train"]["global_batch"] // arguments.ranks[-1]

    def check(self, arguments):
        """Refuses what the PyTorch side does not implement rather than compare two different things."""
        model, train, most = self.config["model"], self.config["train"], arguments.ranks[-1]
        if float(model["dropout"]) != 0:
            fail(BAD_CONFIGURATION, f"{self.path}: model.dropout must be 0: the PyTorch side has no dropout")
        if train["optimizer"]["name"] != "adamw":
            fail(BAD_CONFIGURATION, f"{self.path}: train.optimizer.name is {train['optimizer']['name']}; the PyTorch "
                 "side has adamw only")
        share, remainder = divmod(train["global_batch"], most)
        if remainder or share % (arguments.torch_micro_batch or share):
            fail(BAD_CONFIGURATION, f"{self.path}: train.global_batch {train['global_batch']} does not divide among "
                 f"{most} ranks and micro-batches of {arguments.torch_micro_batch or share}")
        threads, cores = self.config["parallel"]["threads_per_rank"], len(os.sched_getaffinity(0))
        if most * threads > cores:
            fail(USAGE, f"{most} ranks × {threads} threads need more than the {cores} cores that this process may use: "
                 "give fewer --ranks")
        if not (ROOT / self.config["data"]["path"]).is_file():
            fail(INPUT_MISSING, f"{self.config['data']['path']}: no such file; launch/setup makes data/kjv.txt")

    def measure(self, modes, ranks, arguments):
        """One run of each side that `modes` need, PyTorch and Lockstep in turn: the figures of each, by mode."""
        config = merged(self.config, {"train": {"global_batch": self.share * ranks}})
        torch, results = {}, {}
        for mode in modes:
            matmul, precision = MODES[mode]
            if precision not in torch:
                with tempfile.TemporaryDirectory(prefix="compare-torch-") as folder:
                    torch[precision] = run_torch(
                        config, precision, ranks, arguments.steps, arguments.torch_micro_batch, Path(folder))
            with tempfile.TemporaryDirectory(prefix="compare-torch-") as folder:
                lockstep = run_lockstep(
                    self.path, self.overrides, config, matmul, ranks, arguments.steps, Path(folder))
            results[mode] = dict(torch=torch[precision], lockstep=lockstep)
            print(f"{self.name}, {ranks} rank{'s' * (ranks > 1)}, {mode}: torch "
                  f"{torch[precision]['tokens_per_second']:,.0f} tokens/s, lockstep "
                  f"{lockstep['tokens_per_second']:,.0f}", file=sys.stderr)
        return results


def median_and_range(values):
    return dict(median=statistics.median(values), min=min(values), max=max(values))


def compared(rounds):
    """Medians of both sides over the rounds, and the ratios taken within each."""
    sides = {side: {figure: statistics.median(sides[side][figure] for sides in rounds) for figure, _, _ in FIGURES}
             for side in ("torch", "lockstep")}
    ratio = {figure: median_and_range([sides["lockstep"][figure] / sides["torch"][figure] for sides in rounds])
             for figure, _, _ in FIGURES}
    return dict(matmul=rounds[0]["lockstep"]["matmul"], **sides, ratio=ratio, rounds=rounds)


def scaling(cases, side):
    """How many times as fast the largest number of ranks is as the smallest, by round: median and range."""
    rates = [[sides[side]["tokens_per_second"] for sides in case["rounds"]] for case in (cases[0], cases[-1])]
    return median_and_range([most / least for least, most in zip(*rates)])


def spread(ratio):
    return f"{ratio['median']:.2f} ({ratio['min']:.2f}–{ratio['max']:.2f})"


def table(workload, cases, arguments):
    """A line for each number of ranks and mode: both sides' medians and, with its range, Lockstep's share of PyTorch's."""
    model, threads = workload.config["model"], workload.config["parallel"]["threads_per_rank"]
    head = ["ranks", "mode"] + [f"{name}: torch" if index == 0 else name for _, title, _ in FIGURES
                                for index, name in enumerate([title, "lockstep", "ratio"])]
    lines = [head]
    for case in cases:
        cells = [str(case["ranks"]), case["mode"] + "*" * (case["matmul"] != MODES[case["mode"]][0])]
        for figure, _, form in FIGURES:
            cells += [form.format(case[side][figure]) for side in ("torch", "lockstep")]
            cells.append(spread(case["ratio"][figure]))
        lines.append(cells)
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    text = [f"{workload.name}: {model['num_layers']} layers, d_model {model['d_model']}, {model['num_heads']} heads, "
            f"context {model['context_length']}, vocabulary {model['vocab_size']}; {workload.share} sequences and "
            f"{threads} thread{'s' * (threads > 1)} a rank, {arguments.steps} steps"]
    text += ["  ".join(cell.rjust(width) for cell, width in zip(line, widths)) for line in lines]
    for mode in arguments.modes:
        ours = [case for case in cases if case["mode"] == mode]
        if len(ours) > 1:
            text.append(f"tokens/s of {ours[-1]['ranks']} ranks over those of {ours[0]['ranks']}, {mode}: torch "
                        f"{spread(scaling(ours, 'torch'))}, lockstep {spread(scaling(ours, 'lockstep'))}")
    lowered = {(case["mode"], case["matmul"]) for case in cases if case["matmul"] != MODES[case["mode"]][0]}
    text += [f"* {mode} ran as {matmul}: this CPU has nothing that makes {MODES[mode][0]} faster"
             for mode, matmul in sorted(lowered)]
    return "\n".join(text) + "\n"


def report(workloads, rounds, arguments):
    """The tables, and the same for programs, of the rounds so far."""
    tables, results = [], []
    for workload in workloads:
        cases = [dict(ranks=ranks, mode=mode, **compared([results[workload.name, ranks][mode] for results in rounds]))
                 for ranks in arguments.ranks for mode in arguments.modes]
        tables.append(table(workload, cases, arguments))
        results.append(dict(config=workload.config, sequences_per_rank=workload.share, cases=cases))
    return "\n".join(tables), dict(
        schema_version=2, rounds=len(rounds), steps=arguments.steps, workloads=results)


def main():
    arguments = parse_arguments()
    workloads = [Workload(name, arguments) for name in arguments.workloads]
    out = ROOT / arguments.out
    out.mkdir(parents=True, exist_ok=True)
    limits = [name for name in CAPABILITY_LIMITS if name in os.environ]
    if limits:
        print(f"compare-torch: ignoring {', '.join(limits)} of the environment", file=sys.stderr)
    build = subprocess.run(
        ["swift", "build", "-c", "release", "--product", "lockstep"], cwd=ROOT, stdout=sys.stderr)
    if build.returncode != 0:
        fail(MEASUREMENT_FAILED, "swift build failed; what it said is above")
    rounds = []
    for index in range(1, arguments.rounds + 1):
        print(f"round {index} of {arguments.rounds}", file=sys.stderr)
        rounds.append({(workload.name, ranks): workload.measure(arguments.modes, ranks, arguments)
                       for workload in workloads for ranks in arguments.ranks})
        tables, results = report(workloads, rounds, arguments)
        (out / "compare-torch.txt").write_text(tables)
        (out / "compare-torch.json").write_text(json.dumps(results, indent=2) + "\n")
    print(tables, end="")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main()
    except KeyboardInterrupt:
        fail(130, "interrupted")
