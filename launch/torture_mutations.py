"""The row of launch/torture in which every kind of file that the program reads is damaged in every kind of way."""

import collections
import hashlib
import os
import pathlib
import random
import re
import shutil

import torture_kit as kit
from torture_kit import Findings, LOCKSTEP, train
from torture_runs import shard
from torture_saves import each, generate, prepare, resume

SECONDS = 2
EXTRA_BYTES = 256 << 20
# A file of a folder, the command that reads it, given the folder; whether a checkpoint's hashes are made right again,
# so that what is behind them is reached; exit codes that are an answer rather than an error; how many share the cases.
Target = collections.namedtuple("Target", "folder file command reseal answers weight")


def flips(content, generator):
    for _ in range(generator.randint(1, 8)):
        content[generator.randrange(len(content))] = generator.randrange(256)


def bit(content, generator):
    content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)


def cut(content, generator):
    del content[generator.randrange(len(content)):]


def remove(content, generator):
    start = generator.randrange(len(content))
    del content[start:start + generator.randint(1, 64)]


def insert(content, generator):
    at = generator.randrange(len(content) + 1)
    content[at:at] = generator.randbytes(generator.randint(1, 64))


def duplicate(content, generator):
    start = generator.randrange(len(content))
    at = generator.randrange(len(content) + 1)
    content[at:at] = content[start:start + generator.randint(1, 4096)]


def number(content, generator):
    """Another number in place of one of the text, or of eight bytes."""
    found = [match.span() for match in re.finditer(rb"-?\d+(\.\d+)?(e-?\d+)?", bytes(content[:65536]))]
    if found and generator.random() < 0.9:
        start, end = generator.choice(found)
        content[start:end] = generator.choice(
            [b"0", b"-1", b"1", b"9223372036854775807", b"-9223372036854775808", b"99999999999999999999", b"1e308", b"1e999",
             b"4294967296", b"2147483647", b"1000000000", b"1e-320", b"0.5", b"9" * 400, b"NaN", b"null", b'"x"', b"[]", b"{}"])
    else:
        at = generator.choice([0, 4, 8, generator.randrange(len(content))])
        content[at:at + 8] = generator.choice([0, 1, 1 << 31, 1 << 32, (1 << 63) - 1, (1 << 64) - 1, len(content),
                                               len(content) - 8]).to_bytes(8, "little")


def nest(content, generator):
    depth = generator.choice([10, 500, 513, 10_000, 200_000])
    at = generator.choice([0, generator.randrange(len(content))])
    unit = generator.choice([b"[", b'{"a":', b"{a: ", b"- ", b"[{"])
    content[at:at] = unit * depth


def word(content, generator):
    """A word in place of another."""
    found = [match.span() for match in re.finditer(rb"[A-Za-z_]+", bytes(content[:65536]))]
    if found:
        start, end = generator.choice(found)
        other = generator.choice(found)
        content[start:end] = generator.choice(
            [bytes(content[other[0]:other[1]]), b"", b"null", b"true", b"..", b"/", b"\0", b"%s%n", b"A" * 70_000, b"&a *a",
             b"!!binary", "ü\u202e".encode(), b"\xff\xfe"])


MUTATIONS = [flips, bit, cut, remove, insert, duplicate, number, number, nest, word]


def mutate(content, generator):
    """The names of what was done to it."""
    done = []
    for _ in range(generator.choice([1, 1, 1, 2, 3])):
        if content:
            mutation = generator.choice(MUTATIONS)
            mutation(content, generator)
            done.append(mutation.__name__)
    return "+".join(done)


def reseal(folder):
    """Makes the sizes and hashes of a checkpoint's manifest those of its files."""
    path = folder / "manifest.json"
    text = path.read_text(errors="surrogateescape")
    for file in folder.iterdir():
        content = file.read_bytes()
        text = re.sub(
            rf'("bytes"\s*:\s*)\d+(,\s*"name"\s*:\s*"{re.escape(file.name)}",\s*"sha256"\s*:\s*")[0-9a-f]*',
            lambda match, content=content: f"{match[1]}{len(content)}{match[2]}{hashlib.sha256(content).hexdigest()}", text)
    # The manifest's own stands between the files and the step.
    own = re.compile(r'(\n  "sha256"\s*:\s*")[0-9a-f]*(")')
    empty = own.sub(r"\1\2", text)
    digest = hashlib.sha256(empty.encode(errors="surrogateescape")).hexdigest()
    path.write_text(own.sub(rf"\g<1>{digest}\2", empty), errors="surrogateescape")


def usable_profile(sandbox, config, path):
    """A profile: the user's, when the program reads it, or one that is measured now."""
    home = os.environ.get("XDG_DATA_HOME", "")
    base = pathlib.Path(home) if home.startswith("/") else pathlib.Path.home() / ".local/share"
    users = base / "lockstep/profile.json"
    if users.is_file() and sandbox.run([LOCKSTEP, "estimate", config, "--profile", users]).code == 0:
        shutil.copy(users, path)
    else:
        # Of two ranks: a plan is made of their reductions.
        result = sandbox.run(kit.mpirun(2, LOCKSTEP, "calibrate", "--out", path), limit=600)
        if result.code != 0:
            raise RuntimeError(f"calibration ended with code {result.code}: {kit.last_line(result.error)}")


def targets(sandbox):
    config, run, _ = prepare(sandbox)
    paper = sandbox.path("paper")
    paper.mkdir()
    shutil.copy(config, paper / "model.yaml")
    shutil.copy(kit.ROOT / "configs/cluster-64.yaml", paper / "cluster.yaml")
    usable_profile(sandbox, config, paper / "profile.json")
    (paper / "tokens.bin").write_bytes(shard((sandbox.folder / "text").read_bytes()))
    told = sandbox.path("told")
    result = sandbox.run(train(config, told, "--profile", paper / "profile.json"))
    if result.code != 0:
        raise RuntimeError(f"a run with a profile ended with code {result.code}: {kit.last_line(result.error)}")

    def estimate(folder, *more):
        return [LOCKSTEP, "estimate", folder / "model.yaml", "--ranks", "1,2", *more]

    def plan(folder):
        return [LOCKSTEP, "plan", folder / "model.yaml", "--cluster", folder / "cluster.yaml", "--profile",
                folder / "profile.json", "train.global_batch=512"]

    def shards(folder):
        return train(folder / "model.yaml", folder / "run", "data.path=" + str(folder / "tokens.bin"), "train.steps=2",
                     "--no-profile")

    def evaluate(folder):
        return [LOCKSTEP, "evaluate", folder]

    def verify(folder):
        return [LOCKSTEP, "verify", folder]

    def resumed(folder):
        return resume(config, folder)

    newest = "checkpoints/step-4/"
    found = [
        Target(paper, "model.yaml", lambda folder: estimate(folder, "--no-profile"), False, (), 6),
        Target(paper, "model.yaml", plan, False, (1,), 2),
        Target(paper, "cluster.yaml", plan, False, (1,), 4),
        Target(paper, "profile.json", lambda folder: estimate(folder, "--profile", folder / "profile.json"), False, (), 4),
        Target(paper, "tokens.bin", shards, False, (), 3),
        Target(run, "config.yaml", generate, False, (), 2),
        Target(run, "data/validation.bin", evaluate, False, (), 2),
        Target(run, "checkpoints/latest", generate, False, (), 1),
        Target(run, "status.json", resumed, False, (), 2),
    ]
    found += [Target(run, newest + file, generate, sealed, (), 4) for sealed in (False, True)
              for file in ("model.safetensors", "state.json", "manifest.json")]
    optimizer = next(name for name in os.listdir(run / newest) if name.startswith("optimizer"))
    # State that no run has makes a loss that is not finite, which ends the run with 81.
    found.append(Target(run, newest + optimizer, resumed, True, (81,), 4))
    found += [Target(told, file, verify, False, (1,), 4) for file in ("estimate.json", "ledger.jsonl")]
    found += [Target(told, file, verify, False, (1,), 2) for file in
              ("speed.json", "memory.json", "checkpoints.jsonl", "evaluations.jsonl", "config.yaml")]
    return [target for target in found if (target.folder / target.file).is_file()]


def mutations(sandbox, options, report):
    """Seconds are those of the wall clock; a case that takes longer than 2 s is repeated up to three times, because other
    work on the machine may have been to blame, and the fastest counts."""
    count = 300 if options.short else 10_000
    findings, everything = Findings(options), targets(sandbox)
    usual = {}
    for target in everything:
        copy = sandbox.path("usual")
        shutil.copytree(target.folder, copy)
        result = sandbox.run(target.command(copy))
        if result.code not in (0, *target.answers):
            raise RuntimeError(f"{target.file} unharmed gives code {result.code}: {result.error}")
        usual[target] = result.peak
        shutil.rmtree(copy)
    generator = random.Random(options.seed)
    weights = [target.weight for target in everything]
    # Every target at least once.
    chosen = everything + generator.choices(everything, weights, k=max(0, count - len(everything)))
    seeds = [generator.getrandbits(32) for _ in chosen]
    worst = {"seconds": (0, ""), "extra": (0, "")}

    def one(index):
        target, own = chosen[index], random.Random(seeds[index])
        original = (target.folder / target.file).read_bytes()
        content = bytearray(original)
        done = mutate(content, own)
        command = None
        fastest = None
        for attempt in range(4):
            copy = sandbox.path("mutated")
            shutil.copytree(target.folder, copy)
            (copy / target.file).write_bytes(content)
            if target.reseal:
                reseal((copy / target.file).parent)
            command = target.command(copy)
            result = sandbox.run(command, limit=20)
            shutil.rmtree(copy)
            fastest = result if fastest is None or result.seconds < fastest.seconds else fastest
            if fastest.seconds <= SECONDS:
                break
        name = f"{target.file} by {command[1] if command[0] == LOCKSTEP else command[0]}, case {index} ({done})"
        extra = fastest.peak - usual[target]
        worst["seconds"] = max(worst["seconds"], (fastest.seconds, name))
        worst["extra"] = max(worst["extra"], (extra, name))
        if fastest.code >= 128:
            findings.add(name, f"code {fastest.code}: {kit.last_line(fastest.error)}")
        elif fastest.seconds > SECONDS:
            findings.add_late(name, f"{fastest.seconds:.1f} s")
        if extra > EXTRA_BYTES:
            findings.add(name, f"{extra >> 20} MiB more than unharmed")
        if fastest.code not in (0, *target.answers) and not names(fastest.error, target, content):
            findings.add(name, f"code {fastest.code} does not name the file: {kit.last_line(fastest.error)}")
        return fastest.code

    codes = each(one, len(chosen), report)
    told = ", ".join(f"{code}: {codes.count(code)}" for code in sorted(set(codes)))
    return findings.row(
        "mutations", len(chosen), f"{len(everything)} kinds; codes {told}; ≤ {worst['seconds'][0]:.1f} s,"
        f" ≤ {max(0, worst['extra'][0]) >> 20} MiB more", worst["seconds"][1])


def names(error, target, content):
    """Whether an error tells the file: by its name, or, as that of a path or name that stands in it."""
    if pathlib.Path(target.file).name in error or (target.reseal and "checkpoints/" in error):
        return True
    # What does not go with the number of ranks may stand in the file or on the command line.
    if target.file.endswith(".yaml") and re.search(r"\b(model|data|train|precision|parallel)\.[a-z_.]+ \S+ ", error):
        return True
    # A corpus that a damaged data.path names.
    path = re.search(rb'path: *"?([^"}\n]+)', bytes(content))
    return bool(path) and path[1].decode(errors="replace").strip() in error
