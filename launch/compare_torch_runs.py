"""One side of launch/compare-torch: a few steps of training with PyTorch or with Lockstep, and what they took."""

import json
import os
import shlex
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
USAGE, INPUT_MISSING, BAD_CONFIGURATION, MEASUREMENT_FAILED = 64, 66, 78, 1

# Settings that hold a library below what the CPU can do; neither side may inherit them.
CAPABILITY_LIMITS = [
    "OPENBLAS_CORETYPE", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "LOCKSTEP_ISA"]


def fail(status, message):
    print(f"compare-torch: {message}", file=sys.stderr)
    sys.exit(status)


def clean_environment():
    return {key: value for key, value in os.environ.items() if key not in CAPABILITY_LIMITS}


def flops_per_token(model):
    """Forward and backward matrix products of the model: 3 · (L(8h² + 4hf + 4sh) + 2hV)."""
    L, h, f = model["num_layers"], model["d_model"], model["d_ff"]
    s, V = model["context_length"], model["vocab_size"]
    return 3 * (L * (8 * h * h + 4 * h * f + 4 * s * h) + 2 * h * V)


class Run:
    """Processes that train and write a ledger; measures them from their start."""

    def __init__(self, name, folder, ledger, ranks, steps):
        self.name, self.log, self.ledger = name, folder / "log", ledger
        self.ranks, self.steps = ranks, steps

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


def summarize(samples, first_step_seconds, model):
    """Speed from the median step without the first one, which allocates and, on both sides, chooses kernels."""
    by_step = {}
    for sample in samples:
        by_step.setdefault(sample["step"], []).append(sample)
    step_seconds = [
        max(sample["seconds"]["total"] for sample in by_step[step]) for step in sorted(by_step)[1:]]
    last = by_step[max(by_step)]
    rate = sum(sample["tokens"] for sample in last) / statistics.median(step_seconds)
    return dict(
        tokens_per_second=rate,
        gflops=rate * flops_per_token(model) / 1e9,
        peak_rss_mib=max(sample["bytes"]["rss_peak"] for sample in samples) / 2**20,
        first_step_seconds=first_step_seconds,
        step_seconds=step_seconds,
        last_loss=statistics.fmean(sample["loss"] for sample in last))


def run_torch(config, precision, ranks, steps, micro_batch, folder):
    """`config` with PyTorch in `precision`, fp32 or bf16 (autocast)."""
    train, threads = config["train"], config["parallel"]["threads_per_rank"]
    cores = sorted(os.sched_getaffinity(0)) if threads == 1 else None
    settings = dict(
        model=config["model"], steps=steps, global_batch=train["global_batch"],
        micro_batch=micro_batch or train["global_batch"] // ranks, seed=train["seed"],
        clip_norm=train["clip_norm"], optimizer=train["optimizer"],
        shards=config["parallel"]["optimizer_sharding"], threads=threads, cores=cores,
        precision=precision, data=str(ROOT / config["data"]["path"]), ledger=str(folder / "ledger.jsonl"),
        store=str(folder / "store"))
    (folder / "settings.json").write_text(json.dumps(settings))
    environment = clean_environment() | {
        "WORLD_SIZE": str(ranks), "OMP_NUM_THREADS": str(threads), "GLOO_SOCKET_IFNAME": "lo"}
    command = [sys.executable, "-B", str(ROOT / "launch/torch_ddp.py"), str(folder / "settings.json")]
    run = Run("PyTorch", folder, folder / "ledger.jsonl", ranks, steps)
    commands = [(command, environment | {"RANK": str(rank)}) for rank in range(ranks)]
    return summarize(*run.measure(commands), config["model"])


def lockstep_command(config_path, overrides, ranks, folder):
    """The mpirun line that launch/run would start, without the time that launch/run itself takes."""
    launch = [str(ROOT / "launch/run"), "--dry-run", str(ranks), str(config_path), "--out", str(folder / "run"),
              *overrides]
    dry_run = subprocess.run(launch, cwd=ROOT, env=clean_environment(), capture_output=True, text=True)
    lines = [line for line in (dry_run.stdout + dry_run.stderr).splitlines() if "mpirun" in line]
    if dry_run.returncode != 0 or not lines:
        fail(MEASUREMENT_FAILED, f"{shlex.join(launch)} gave no mpirun line:\n{dry_run.stdout}{dry_run.stderr}")
    return ["bash", "-c", lines[-1]]


def run_lockstep(config_path, overrides, config, matmul, ranks, steps, folder):
    """`config` with Lockstep; with the figures, the `precision.matmul` that the CPU really gave it."""
    import yaml

    command = lockstep_command(config_path, [
        *overrides, f"precision.matmul={matmul}", f"train.global_batch={config['train']['global_batch']}",
        f"train.steps={steps}", "train.schedule.warmup_steps=0", "train.evaluate_every=0",
        "train.checkpoint_every=0", "data.validation_fraction=0.01"], ranks, folder)
    run = Run("Lockstep", folder, folder / "run/ledger.jsonl", ranks, steps)
    figures = summarize(*run.measure([(command, clean_environment())]), config["model"])
    resolved = yaml.safe_load((folder / "run/config.yaml").read_text())
    return figures | {"matmul": resolved["precision"]["matmul"]}
