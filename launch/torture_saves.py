"""Rows of launch/torture about disks: system calls of a save that fail, flipped bits, truncations, full disks."""

import concurrent.futures
import hashlib
import os
import random
import re
import shutil

import torture_kit as kit
from torture_kit import Findings, LOCKSTEP, Row, train

TRACED = ("openat,mkdir,write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,rmdir,ftruncate,"
          "fallocate,mmap,statfs,fstatfs,lseek,close,getdents64,flock")
STEPS = 8


def prepare(sandbox):
    """A run of one rank with the checkpoints of steps 2 and 4, that may go on to step 8; its configuration and folder,
    and the parameters behind every step that it saves."""
    config = kit.configuration(sandbox, steps=4, every=2, schedule="constant")
    run = sandbox.path("prepared")
    longer = f"train.steps={STEPS}"
    for command in (train(config, run), None):
        if command is None:
            whole = sandbox.path("whole")
            shutil.copytree(run, whole)
            command = train(config, whole, longer, "--resume", "train.keep_checkpoints=9")
        result = sandbox.run(command)
        if result.code != 0:
            raise RuntimeError(f"a prepared run ended with code {result.code}: {result.error}")
    return config, run, {step: kit.parameters(whole, step) for step in kit.checkpoints(whole)}


def resume(config, run):
    return train(config, run, f"train.steps={STEPS}", "--resume")


def generate(run):
    return [LOCKSTEP, "generate", run, "--prompt", "And", "--tokens", "1"]


def points(log, folder):
    """(system call, its number within the thread, what it is of) for all of a traced run that touch `folder`, those of its
    checkpoints first. strace counts by thread, so that only the first call of all with its name and number can be met."""
    numbers, met, found = {}, set(), []
    for line in log.splitlines():
        match = re.match(r"(\d+) +(\w+)\((.*)", line)
        if not match:
            continue
        thread, call, rest = match.groups()
        number = numbers[thread, call] = numbers.get((thread, call), 0) + 1
        if (call, number) in met:
            continue
        met.add((call, number))
        if str(folder) in rest:
            found.append((call, number, "checkpoints" if f"{folder}/checkpoints" in rest else "rest"))
    return sorted(found, key=lambda point: point[2] != "checkpoints")


def saves(sandbox, options, report):
    if not shutil.which("strace"):
        return Row("saves", 0, "not run", None, "there is no strace in PATH; `apt-get install strace` installs it")
    config, prepared, wanted = prepare(sandbox)
    run, log = sandbox.path("traced"), sandbox.path("strace")
    shutil.copytree(prepared, run)
    strace = ["strace", "-f", "--seccomp-bpf", "-y", "-s", "0", "-e", f"trace={TRACED}"]
    traced = sandbox.run([*strace, "-o", log, *resume(config, run)])
    if traced.code != 0:
        return Row("saves", 0, "not run", None, f"strace cannot trace here: {kit.last_line(traced.error)}")
    calls = points(log.read_text(errors="replace"), run)
    cases = [(call, number, of, fault) for call, number, of in calls
             for fault in ("signal=KILL", "error=EIO", "error=ENOSPC", "retval=1")
             # A write that the system says has been made, but has not: what it belongs to is damaged.
             if fault != "retval=1" or call in ("write", "pwrite64")]
    saved = sum(case[2] == "checkpoints" for case in cases)
    generator = random.Random(options.seed)
    if options.short:
        cases = generator.sample(cases[:saved], min(saved, 36))
    else:
        cases = cases[:max(saved, 500)]
    # A file that may not grow beyond a size is written short, then not at all.
    largest = max(path.stat().st_size for path in prepared.glob("checkpoints/*/*"))
    limits = 4 if options.short else 40
    cases += [("write", 1 + largest * index // limits, "checkpoints", "short") for index in range(limits)]
    findings = Findings(options)

    def one(index):
        call, number, of, fault = cases[index]
        name = f"{call} {number} ({of}) {fault}"
        run, trace = sandbox.path("fault"), sandbox.path("strace")
        shutil.copytree(prepared, run)
        if fault == "short":
            tool = ["prlimit", f"--fsize={number}"]
        else:
            # Where strace stops at chosen calls only, a signal that it injects is lost.
            fast = [] if "KILL" in fault else ["--seccomp-bpf"]
            tool = ["strace", "-f", *fast, "-y", "-s", "0", "-o", trace, "-e", f"trace={call}", "-e",
                    f"inject={call}:{fault}:when={number}"]
        # strace counts by thread, and every save has its own: a system that lies damages one checkpoint after the other.
        keep = ["train.keep_checkpoints=9"] if fault == "retval=1" else []
        result = sandbox.run([*tool, *resume(config, run), *keep])
        # The numbers of calls vary a little from run to run: what a failing pipe does to Open MPI is not judged.
        injected = [line for line in trace.read_text(errors="replace").splitlines() if "(INJECTED)" in line] \
            if trace.exists() else []
        is_ours = fault == "short" or any(str(run) in line for line in injected)
        if "KILL" in fault and injected and result.code != 137:
            findings.add(name, f"the kill did not end it: code {result.code}")
        if result.code >= 128 and "KILL" not in fault and is_ours:
            findings.add(name, f"code {result.code}: {kit.last_line(result.error)}")
        loaded = sandbox.run(generate(run))
        if loaded.code != 0:
            findings.add(name, f"no checkpoint loads (run {result.code}): {kit.last_line(loaded.error)}")
        elif "warning" in loaded.error and "retval" not in fault and "latest: expected" not in loaded.error:
            findings.add(name, f"a damaged checkpoint is in its place: {kit.last_line(loaded.error)}")
        if index % 5 == 0 or options.short:
            again = sandbox.run(resume(config, run))
            if again.code != 0 or fault != "retval=1" and kit.parameters(run, STEPS) != wanted[STEPS]:
                findings.add(name, f"resumes to code {again.code}, or other parameters: {kit.last_line(again.error)}")
        shutil.rmtree(run)
        return result.code

    codes = each(one, len(cases), report)
    told = ", ".join(f"{code}: {codes.count(code)}" for code in sorted(set(codes)))
    return findings.row("saves", len(cases), f"a checkpoint loads after each; {min(saved, len(cases))} calls of saves; "
                        f"codes {told}")


def each(body, count, report, workers=max(2, os.cpu_count() or 1)):
    """The values of body(0), …, body(count − 1), several at a time."""
    values = []
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        try:
            for index, value in enumerate(pool.map(body, range(count))):
                values.append(value)
                if index % 20 == 19:
                    report(f"{index + 1} of {count}")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return values


def damage(sandbox, options, report):
    """Whatever is changed in the newest checkpoint must be told, and the older one taken."""
    flips, cuts = (60, 20) if options.short else (1000, 200)
    _, prepared, _ = prepare(sandbox)
    folder = "checkpoints/step-4"
    files = sorted(os.listdir(prepared / folder))
    sizes = {file: (prepared / folder / file).stat().st_size for file in files}
    generator = random.Random(options.seed)
    # Half of the flips by size, and half by file: a manifest is small.
    cases = [("flip", generator.choices(files, sizes.values() if case % 2 else None)[0]) for case in range(flips)]
    cases += [("cut", generator.choice(files)) for _ in range(cuts)]
    cases = [(kind, file, generator.randrange(sizes[file]), generator.randrange(8)) for kind, file in cases]
    findings = Findings(options)

    def one(index):
        kind, file, offset, bit = cases[index]
        name = f"{kind} {file} at {offset}" + (f" bit {bit}" if kind == "flip" else "")
        run = sandbox.path("damaged")
        shutil.copytree(prepared, run)
        path = run / folder / file
        content = bytearray(path.read_bytes())
        if kind == "flip":
            content[offset] ^= 1 << bit
        else:
            del content[offset:]
        path.write_bytes(content)
        result = sandbox.run(generate(run))
        if result.code != 0 or f"{folder}/" not in result.error or "using step-2 instead" not in result.error:
            findings.add(name, f"not detected (code {result.code}): {kit.last_line(result.error)}")
        shutil.rmtree(run)

    each(one, len(cases), report)
    return findings.row("damage", len(cases), f"{flips} flips and {cuts} cuts detected, the older checkpoint taken")


def full_disk(sandbox, options, report):
    levels = 10
    if os.geteuid() != 0:
        return Row("full disk", 0, "not run", None, "mounting a small tmpfs needs root")
    config, prepared, wanted = prepare(sandbox)
    disk = sandbox.path("disk")
    if not sandbox.mount(disk, 4 << 20):
        return Row("full disk", 0, "not run", None, "a tmpfs cannot be mounted here")
    size = sum(path.stat().st_size for path in (prepared / "checkpoints/step-4").iterdir())
    findings, codes = Findings(options), []
    # Up to what a checkpoint needs, with the margin that is asked for.
    frees = [0, 1 << 12, 1 << 13, 3 << 12, 1 << 14, 1 << 15, size // 2, size, size + (1 << 16), size + (1 << 17)]
    for level, free in enumerate(frees[:levels]):
        name = f"{free} bytes free"
        report(name)
        run = disk / "run"
        shutil.copytree(prepared, run)
        before = digests(run)
        filler = disk / "filler"
        fill(filler, free)
        result = sandbox.run(resume(config, run))
        codes.append(result.code)
        if result.code != 74:
            findings.add(name, f"code {result.code}: {kit.last_line(result.error)}")
        if any(digests(run).get(file) != digest for file, digest in before.items()):
            findings.add(name, "an old checkpoint is gone or another one")
        loaded = sandbox.run(generate(run))
        if loaded.code != 0 or "warning" in loaded.error:
            findings.add(name, f"the old checkpoint does not load: {kit.last_line(loaded.error)}")
        filler.unlink()
        again = sandbox.run(resume(config, run))
        if again.code != 0 or kit.parameters(run, STEPS) != wanted[STEPS]:
            findings.add(name, f"does not go on with space (code {again.code}): {kit.last_line(again.error)}")
        shutil.rmtree(run)
    sandbox.unmount(disk)
    return findings.row("full disk", len(codes), f"old checkpoints intact, codes {sorted(set(codes))}, go on with space")


def digests(run):
    return {path: hashlib.sha256(path.read_bytes()).digest() for path in sorted(run.glob("checkpoints/step-[24]/*"))}


def fill(path, free):
    """Writes a file that leaves `free` bytes of its disk."""
    with open(path, "wb", buffering=0) as file:
        space = os.statvfs(path.parent)
        left = space.f_bavail * space.f_frsize - free
        file.write(bytes(max(0, left)))
