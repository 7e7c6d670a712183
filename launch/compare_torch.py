"""Train the same model with Lockstep and with PyTorch DDP over gloo, alternately, and print the ratios.

Both get the same shape, global batch, optimizer, clipping, text, ranks and threads, one rank bound to a core. Tokens
per second come from the median step without the first one; the first step is timed from process start; memory is
the peak resident set of the largest rank. A ratio is taken within a round, so that what else the machine does meets
both sides.
"""

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
USAGE, INPUT_MISSING, BAD_CONFIGURATION, MEASUREMENT_FAILED = 64, 66, 78, 1

# Overrides that make a workload of a configuration: GPT-2 at the batch that fits PyTorch into a small machine.
WORKLOADS = {
    "w1": [],
    "gpt2-124m": ["model.context_length=256", "train.global_batch=8"],
}

# Settings that hold a library below what the CPU can do; neither side may inherit them.
CAPABILITY_LIMITS = ["OPENBLAS_CORETYPE", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY"]

# What a configuration may leave out and the PyTorch side must know.
DEFAULTS = {
    "model": {"activation": "gelu", "tie_embeddings": True, "dropout": 0.0},
    "train": {"seed": 1, "clip_norm": None, "optimizer": {
        "name": "adamw", "learning_rate": 1e-3, "betas": [0.9, 0.95], "epsilon": 1e-8, "weight_decay": 0.1}},
    "precision": {"matmul": "highest"},
    "parallel": {"threads_per_rank": 1},
}

COLUMNS = ["tokens_per_second", "gflops", "peak_rss_mib", "first_step_seconds"]
HEADINGS = ["tokens/s", "GFLOP/s", "peak RSS MiB", "first step s"]


def fail(status, message):
    print(f"compare-torch: {message}", file=sys.stderr)
    sys.exit(status)


def parse_arguments():
    parser = argparse.ArgumentParser(
        prog="launch/compare-torch", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: launch/compare-torch w1 --rounds 3 precision.matmul=highest --torch-precision bf16")
    parser.add_argument("workload", nargs="?", default="w1", help="w1 (default), gpt2-124m or a configuration file")
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="overrides for both sides; precision.* is Lockstep's own")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of one run of each side (default 5)")
    parser.add_argument("--steps", type=int, default=8, help="optimizer steps of a run (default 8)")
    parser.add_argument("--ranks", type=int, default=2, help="ranks (default 2)")
    parser.add_argument("--torch-precision", default="fp32", choices=["fp32", "bf16"], help="bf16 is autocast")
    parser.add_argument("--torch-micro-batch", type=int, help="sequences per backward (default: a rank's whole share)")
    parser.add_argument("--only", choices=["torch", "lockstep"], help="measure one side alone")
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else on stdout")
    arguments = parser.parse_intermixed_args()
    if "=" in arguments.workload:
        arguments.overrides.insert(0, arguments.workload)
        arguments.workload = "w1"
    if arguments.rounds < 1 or arguments.steps < 2 or arguments.ranks < 1:
        fail(USAGE, "--rounds and --ranks must be at least 1 and --steps at least 2")
    return arguments


def merged(defaults, section):
    """The section over its defaults, key by key at every depth."""
    nested = {key: merged(defaults[key], value) if isinstance(defaults.get(key), dict) else value
              for key, value in (section or {}).items()}
    return defaults | nested


def load_config(path, overrides):
    """The configuration file as a dictionary, with defaults and key.path=value overrides applied."""
    import yaml

    if not path.is_file():
        fail(INPUT_MISSING, f"{path}: no such configuration; name w1, gpt2-124m or a YAML file")
    config = merged(DEFAULTS, yaml.safe_load(path.read_text()))
    for override in overrides:
        key, separator, value = override.partition("=")
        if not separator:
            fail(USAGE, f"{override}: an override is key.path=value")
        *sections, last = key.split(".")
        section = config
        for name in sections:
            section = section.setdefault(name, {})
        section[last] = yaml.safe_load(value)
    return config


def check_comparable(config, arguments):
    """Refuse what the PyTorch side does not implement rather than compare two different things."""
    model, optimizer = config["model"], config["train"]["optimizer"]
    if float(model["dropout"]) != 0:
        fail(BAD_CONFIGURATION, "model.dropout must be 0: the PyTorch side has no dropout")
    if optimizer["name"] != "adamw":
        fail(BAD_CONFIGURATION, f"train.optimizer.name is {optimizer['name']}; the PyTorch side has adamw only")
    share, remainder = divmod(config["train"]["global_batch"], arguments.ranks)
    if remainder or share % (arguments.torch_micro_batch or share):
        fail(BAD_CONFIGURATION, f"train.global_batch {config['train']['global_batch']} does not divide among "
             f"{arguments.ranks} ranks and micro-batches of {arguments.torch_micro_batch or share}")
    if arguments.ranks * threads_per_rank(config) > len(os.sched_getaffinity(0)):
        fail(USAGE, f"{arguments.ranks} ranks × {threads_per_rank(config)} threads need more than the "
             f"{len(os.sched_getaffinity(0))} cores that this process may use")
    if not (ROOT / config["data"]["path"]).is_file():
        fail(INPUT_MISSING, f"{config['data']['path']}: no such file; launch/setup makes data/kjv.txt")


def threads_per_rank(config):
    return config["parallel"]["threads_per_rank"]


def flops_per_token(model):
    """Forward and backward matrix products of the model: 3 · (L(8h² + 4hf + 4sh) + 2hV)."""
    L, h, f = model["num_layers"], model["d_model"], model["d_ff"]
    s, V = model["context_length"], model["vocab_size"]
    return 3 * (L * (8 * h * h + 4 * h * f + 4 * s * h) + 2 * h * V)


class Run:
    """Processes that train and write a ledger; measures them from their start."""

    def __init__(self, name, folder, ledger, arguments):
        self.name, self.log, self.ledger = name, folder / "log", ledger
        self.ranks, self.steps = arguments.ranks, arguments.steps

    def measure(self, commands):
        """Runs the commands, (argv, environment) each, to their end; samples and seconds to the first step."""
        start = time.monotonic()
        processes = []
        with open(self.log, "w") as output:
            try:
                for command, environment in commands:
                    processes.append(subprocess.Popen(
                        command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT))
                first_step_seconds = self.wait(processes, start)
            finally:
                for process in processes:
                    stop(process)
        if any(process.returncode != 0 for process in processes):
            codes = ", ".join(str(process.returncode) for process in processes)
            self.fail(f"ended with {codes}")
        samples = self.samples()
        if len(samples) != self.ranks * self.steps:
            self.fail(f"left {len(samples)} ledger lines in place of {self.ranks} ranks × {self.steps} steps")
        return samples, first_step_seconds

    def wait(self, processes, start):
        """Waits until all or one with an error ended; the first step is over when every rank's line of it is there."""
        first_step_seconds = None
        while any(process.poll() is None for process in processes):
            if any(process.returncode not in (None, 0) for process in processes):
                break
            if first_step_seconds is None and len(self.samples()) >= self.ranks:
                first_step_seconds = time.monotonic() - start
            time.sleep(0.01 if first_step_seconds is None else 0.1)
        return first_step_seconds or time.monotonic() - start

    def samples(self):
        """The complete lines of the ledger."""
        if not self.ledger.exists():
            return []
        return [json.loads(line) for line in self.ledger.read_text().split("\n")[:-1]]

    def fail(self, what):
        end = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
        fail(MEASUREMENT_FAILED, f"{self.name} {what}; the end of its output:\n{end}")


def stop(process):
    """Ends a process that is still running; mpirun needs the gentle signal to take its ranks along."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def summarize(samples, first_step_seconds, config):
    by_step = {}
    for sample in samples:
        by_step.setdefault(sample["step"], []).append(sample)
    step_seconds = [
        max(sample["seconds"]["total"] for sample in by_step[step]) for step in sorted(by_step)[1:]]
    tokens = sum(sample["tokens"] for sample in by_step[max(by_step)])
    rate = tokens / statistics.median(step_seconds)
    return dict(
        tokens_per_second=rate,
        gflops=rate * flops_per_token(config["model"]) / 1e9,
        peak_rss_mib=max(sample["bytes"]["rss_peak"] for sample in samples) / 2**20,
        first_step_seconds=first_step_seconds,
        step_seconds=step_seconds,
        last_loss=statistics.fmean(sample["loss"] for sample in by_step[max(by_step)]))


def clean_environment():
    return {key: value for key, value in os.environ.items() if key not in CAPABILITY_LIMITS}


def run_torch(config, arguments, folder):
    train, threads = config["train"], threads_per_rank(config)
    cores = sorted(os.sched_getaffinity(0)) if threads == 1 else None
    settings = dict(
        model=config["model"], steps=arguments.steps, global_batch=train["global_batch"],
        micro_batch=arguments.torch_micro_batch or train["global_batch"] // arguments.ranks,
        seed=train["seed"], clip_norm=train["clip_norm"], optimizer=train["optimizer"], threads=threads, cores=cores,
        precision=arguments.torch_precision, data=str(ROOT / config["data"]["path"]),
        ledger=str(folder / "ledger.jsonl"), store=str(folder / "store"))
    (folder / "settings.json").write_text(json.dumps(settings))
    environment = clean_environment() | {
        "WORLD_SIZE": str(arguments.ranks), "OMP_NUM_THREADS": str(threads), "GLOO_SOCKET_IFNAME": "lo"}
    command = [sys.executable, "-B", str(ROOT / "launch/torch_ddp.py"), str(folder / "settings.json")]
    run = Run("PyTorch", folder, folder / "ledger.jsonl", arguments)
    commands = [(command, environment | {"RANK": str(rank)}) for rank in range(arguments.ranks)]
    return summarize(*run.measure(commands), config)


def lockstep_command(config_path, overrides, arguments, folder):
    """The mpirun line that launch/run would start, without the time that launch/run itself takes."""
    run_overrides = [
        f"train.steps={arguments.steps}", "train.schedule.warmup_steps=0", "train.evaluate_every=0",
        "train.checkpoint_every=0", "data.validation_fraction=0.01"]
    launch = [str(ROOT / "launch/run"), "--dry-run", str(arguments.ranks), str(config_path),
              "--out", str(folder / "run"), *overrides, *run_overrides]
    dry_run = subprocess.run(launch, cwd=ROOT, env=clean_environment(), capture_output=True, text=True)
    lines = [line for line in (dry_run.stdout + dry_run.stderr).splitlines() if "mpirun" in line]
    if dry_run.returncode != 0 or not lines:
        fail(MEASUREMENT_FAILED, f"{shlex.join(launch)} gave no mpirun line:\n{dry_run.stdout}{dry_run.stderr}")
    return ["bash", "-c", lines[-1]]


def run_lockstep(config_path, overrides, config, arguments, folder):
    command = lockstep_command(config_path, overrides, arguments, folder)
    run = Run("Lockstep", folder, folder / "run/ledger.jsonl", arguments)
    return summarize(*run.measure([(command, clean_environment())]), config)


def median_and_range(values):
    return dict(median=statistics.median(values), min=min(values), max=max(values))


def row(label, values, formats=("{:,.0f}", "{:,.1f}", "{:,.0f}", "{:,.2f}")):
    cells = [form.format(value) for form, value in zip(formats, values)]
    return f"{label:<16}" + "".join(f"{cell:>22}" for cell in cells)


def print_table(result, stream):
    config, rounds = result["config"], result["rounds"]
    model = config["model"]
    print(f"{config['name']}: {model['num_layers']} layers, d_model {model['d_model']}, {model['num_heads']} heads, "
          f"context {model['context_length']}, vocabulary {model['vocab_size']}", file=stream)
    print(f"global batch {config['train']['global_batch']}, {result['ranks']} ranks, {threads_per_rank(config)} "
          f"threads each, {result['steps']} steps; lockstep matmul {config['precision']['matmul']}, "
          f"torch {result['torch_precision']}", file=stream)
    print(f"{'':<16}" + "".join(f"{heading:>22}" for heading in HEADINGS), file=stream)
    for index, sides in enumerate(rounds, 1):
        for side, figures in sides.items():
            print(row(f"{index} {side}", [figures[column] for column in COLUMNS]), file=stream)
    for side, figures in result["median"].items():
        print(row(f"median {side}", [figures[column] for column in COLUMNS]), file=stream)
    if result["ratio"]:
        cells = [f"{r['median']:.2f} ({r['min']:.2f}–{r['max']:.2f})" for r in result["ratio"].values()]
        print(f"{'lockstep/torch':<16}" + "".join(f"{cell:>22}" for cell in cells), file=stream)


def main():
    arguments = parse_arguments()
    named = arguments.workload in WORKLOADS
    config_path = ROOT / f"configs/{arguments.workload}.yaml" if named else Path(arguments.workload).resolve()
    overrides = [*WORKLOADS.get(arguments.workload, []), *arguments.overrides]
    config = load_config(config_path, overrides)
    check_comparable(config, arguments)
    limits = [name for name in CAPABILITY_LIMITS if name in os.environ]
    if limits:
        print(f"compare-torch: ignoring {', '.join(limits)} of the environment", file=sys.stderr)
    if arguments.only != "torch":
        build = subprocess.run(
            ["swift", "build", "-c", "release", "--product", "lockstep"], cwd=ROOT, stdout=sys.stderr)
        if build.returncode != 0:
            fail(MEASUREMENT_FAILED, "swift build failed; what it said is above")

    rounds = []
    for index in range(1, arguments.rounds + 1):
        sides = {}
        for side in ("torch", "lockstep"):
            if arguments.only not in (None, side):
                continue
            with tempfile.TemporaryDirectory(prefix="compare-torch-") as folder:
                if side == "torch":
                    sides[side] = run_torch(config, arguments, Path(folder))
                else:
                    sides[side] = run_lockstep(config_path, overrides, config, arguments, Path(folder))
            print(f"round {index} of {arguments.rounds}: {side} {sides[side]['tokens_per_second']:,.0f} tokens/s",
                  file=sys.stderr)
        rounds.append(sides)

    result = dict(
        schema_version=1, config=config, ranks=arguments.ranks, steps=arguments.steps,
        torch_precision=arguments.torch_precision, rounds=rounds,
        median={side: {column: statistics.median(sides[side][column] for sides in rounds) for column in COLUMNS}
                for side in rounds[0]},
        ratio={} if arguments.only else {
            column: median_and_range([sides["lockstep"][column] / sides["torch"][column] for sides in rounds])
            for column in COLUMNS})
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        print_table(result, sys.stdout)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        fail(130, "interrupted")
