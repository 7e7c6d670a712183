"""What the rows of launch/torture share: a folder for everything, processes that never outlive it, tiny runs."""

import collections
import contextlib
import ctypes
import json
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
LOCKSTEP = ROOT / ".build/release/lockstep"
RANK_PROGRAMS = ROOT / ".build/release/rank-programs"

# passed: True, False, or None for a row that could not be run.
Row = collections.namedtuple("Row", "name tried figure passed worst")
Heartbeat = collections.namedtuple("Heartbeat", "process activity step")
Outcome = collections.namedtuple("Outcome", "code error seconds cpu peak")


class Findings:
    """What went wrong in the cases of a row."""

    def __init__(self, options):
        self.failures = []
        self.judges_times = not options.test
        self.lock = threading.Lock()

    def add(self, case, text):
        with self.lock:
            self.failures.append(f"{case}: {text}")
            print(f"fault: {self.failures[-1]}", file=sys.stderr, flush=True)

    def add_late(self, case, text):
        """Something took too long, which on a machine that does other work as well means nothing."""
        if self.judges_times:
            self.add(case, text)

    def row(self, name, tried, figure, worst=""):
        if self.failures:
            return Row(name, tried, f"{figure}; {len(self.failures)} faults", False, self.failures[0])
        return Row(name, tried, figure, True, worst)


class Sandbox:
    """A temporary folder, with all processes started and all disks mounted for it; both end with it."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="torture-"))
        self.sessions = set()
        self.mounts = []
        self.counter = 0
        self.ended = False
        self.lock = threading.Lock()
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("OPENBLAS_")}
        # Without a profile, a run measures nothing before and after it.
        self.environment |= {"OPENBLAS_NUM_THREADS": "1", "XDG_DATA_HOME": str(self.folder / "data")}

    def path(self, name):
        """A name in the folder that nothing has yet."""
        with self.lock:
            self.counter += 1
            return self.folder / f"{name}-{self.counter}"

    def start(self, command, log=None, cwd=None):
        """Starts a session of its own; its standard error goes to `log`."""
        if self.ended:
            raise RuntimeError("interrupted")
        with contextlib.ExitStack() as stack:
            error = stack.enter_context(open(log, "wb")) if log else subprocess.DEVNULL
            process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=error, start_new_session=True,
                                       env=self.environment, cwd=cwd or self.folder)
        with self.lock:
            self.sessions.add(process.pid)
        return process

    def run(self, command, limit=120, cwd=None):
        """Runs a command to its end; after `limit` seconds it is killed and its code is 137. Peak is in bytes."""
        log = self.path("log")
        begin = time.monotonic()
        process = self.start(command, log, cwd)
        timer = threading.Timer(limit, self.kill_session, [process.pid])
        timer.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        finally:
            timer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - begin
        with self.lock:
            self.sessions.discard(process.pid)
        error = log.read_bytes().decode(errors="replace")
        log.unlink()
        code = process.returncode if process.returncode >= 0 else 128 - process.returncode
        return Outcome(code, error, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)

    def kill_session(self, session):
        for process in members(session):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def mount(self, path, size):
        path.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], capture_output=True,
                              text=True)
        if done.returncode == 0:
            self.mounts.append(path)
        return done.returncode == 0

    def unmount(self, path):
        subprocess.run(["umount", "-l", path], check=False)
        self.mounts.remove(path)

    def stop(self):
        """Kills what runs, so that nobody waits for it, and starts nothing more."""
        self.ended = True
        for session in list(self.sessions):
            self.kill_session(session)

    def close(self):
        for session in list(self.sessions):
            self.kill_session(session)
        # Open MPI starts helpers in sessions of their own; orphans of any session are children of this process.
        for _ in range(20):
            left = children()
            for process in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            if not left:
                break
            time.sleep(0.05)
        for path in list(self.mounts):
            self.unmount(path)
        shutil.rmtree(self.folder, ignore_errors=True)


def adopt_orphans():
    """From now on, what outlives its parent below this process becomes a child of it (PR_SET_CHILD_SUBREAPER)."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)


def children():
    """The children of this process that run."""
    return processes(1, os.getpid())


def members(session):
    """The processes of a session that run."""
    return processes(3, session)


def processes(field, number):
    """Those that run and have a number in a field of their stat behind the name: 1 is the parent, 3 the session."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                fields = pathlib.Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
                if int(fields[field]) == number and fields[0] not in "ZX":
                    found.append(int(entry))
    return found


def wait_gone(session, limit):
    """Seconds until no process of the session runs; None when some still do after `limit`."""
    begin = time.monotonic()
    while members(session):
        if time.monotonic() - begin > limit:
            return None
        time.sleep(0.02)
    return time.monotonic() - begin


def wait_until(condition, limit=60, pause=0.005):
    """Whether the condition came true in time."""
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(pause)
    return True


def configuration(sandbox, **changes):
    """The settings of a model of 6,000 parameters, as flat keys, written to a file; its path."""
    settings = {"steps": 60, "batch": 8, "every": 5, "optimizer": "adamw", "timeout": 120, "schedule": "cosine",
                "data": sandbox.folder / "text", "check": 100} | changes
    text = """\
name: torture
model: {{num_layers: 1, d_model: 16, num_heads: 2, d_ff: 32, context_length: 16, vocab_size: 256, dropout: 0.1}}
data: {{path: "{data}", validation_fraction: 0.05}}
train: {{steps: {steps}, global_batch: {batch}, micro_batch: 1, evaluate_every: 0, checkpoint_every: {every},
        optimizer: {{name: {optimizer}, learning_rate: 3.0e-3}}, schedule: {{name: {schedule}, warmup_steps: 2}}}}
parallel: {{reproducible: true, hang_timeout: {timeout}, replica_check_every: {check}}}
""".format(**settings)
    path = sandbox.path("config").with_suffix(".yaml")
    path.write_text(text)
    return path


def mpirun(ranks, *program, patience=5):
    """Open MPI ends a job within two times its patience in seconds; 5 is that of launch/run."""
    return ["mpirun", "--quiet", "--oversubscribe", "--bind-to", "none", "--mca", "odls_base_sigkill_timeout", patience,
            "-n", ranks, *program]


def train(config, run, *more):
    return [LOCKSTEP, "train", config, "--out", run, *more]


def heartbeat(run, rank):
    """What a rank is doing; None before it starts."""
    try:
        words = struct.unpack("<4q", (run / f"log/heartbeat-{rank}").read_bytes()[:32])
    except (OSError, struct.error):
        return None
    return Heartbeat(*words[1:]) if words[0] == 0x6C6F636B73746570 else None


def begun(run, rank=0):
    """The step that a rank has begun last; 0 before the first."""
    record = heartbeat(run, rank)
    return record.step if record else 0


def status(run):
    with contextlib.suppress(OSError, ValueError):
        return json.loads((run / "status.json").read_text())
    return {}


def checkpoints(run):
    """Steps of the checkpoints that are in their place."""
    with contextlib.suppress(OSError):
        return sorted(int(name[5:]) for name in os.listdir(run / "checkpoints") if name.startswith("step-"))
    return []


def parameters(run, step):
    """The file of the parameters behind a step; empty when there is none."""
    with contextlib.suppress(OSError):
        return (run / f"checkpoints/step-{step}/model.safetensors").read_bytes()
    return b""


def last_line(text):
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no message"
