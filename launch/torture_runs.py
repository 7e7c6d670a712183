"""Rows of launch/torture in which ranks train: kills, signals, hangs, slow ranks, flipped bits, unlike ranks, the same
bits."""

import concurrent.futures
import json
import os
import random
import re
import shutil
import signal
import time

import torture_kit as kit
from torture_kit import Findings, LOCKSTEP, Row, mpirun, train


def undisturbed(sandbox, config, steps, name="undisturbed"):
    """A run that nothing happens to: its final parameters, and its seconds."""
    run = sandbox.path(name)
    result = sandbox.run(mpirun(2, *train(config, run)))
    if result.code != 0:
        raise RuntimeError(f"an undisturbed run ended with code {result.code}: {result.error}")
    return kit.parameters(run, steps), result.seconds


def ledger_step(run):
    """The last step that the ledger tells of; its last line may be cut off."""
    last = 0
    try:
        lines = (run / "ledger.jsonl").read_text(errors="replace").splitlines()
    except OSError:
        return 0
    for line in lines[-8:]:
        try:
            last = max(last, json.loads(line)["step"])
        except (ValueError, KeyError, TypeError):
            continue
    return last


def is_saving(run):
    try:
        return any(name.startswith(".tmp-step-") for name in os.listdir(run / "checkpoints"))
    except OSError:
        return False


def kills(sandbox, options, report):
    """Lost steps: rank 0's heartbeat, which outlives it, has begun step s, so that s - 1 were done; those behind the
    checkpoint that the run goes on from are lost. `in the ledger` counts from the last step that the ledger holds. Open MPI
    4.1's mpirun itself may stay behind when a rank dies while it connects; launch/run ends such a one."""
    count, interval, steps = (10 if options.short else 100), 5, 60
    # Steps that are shorter than a save.
    config = kit.configuration(sandbox, steps=steps, every=interval, batch=32)
    wanted, seconds = undisturbed(sandbox, config, steps)
    findings, lost, teardown, victims, ledgers, locked = Findings(options), [], [], [], [], []
    generator = random.Random(options.seed)
    for case in range(count):
        ranks = (2, 4)[case % 2]
        during_save = case % 5 == 4
        victim = generator.choice(["mpirun", *range(ranks)])
        delay = generator.uniform(0.1, 0.9) * seconds
        name = f"kill {case + 1} ({victim if victim == 'mpirun' else f'rank {victim}'} of {ranks}, {delay:.2f} s" \
            + (", while saving)" if during_save else ")")
        report(name)
        run = sandbox.path("killed")
        process = sandbox.start(mpirun(ranks, *train(config, run)))
        if during_save:
            # From the first to the last but one interval, wherever a save is seen next.
            after = generator.randrange(steps - interval)
            kit.wait_until(lambda: kit.begun(run) >= after or process.poll() is not None, pause=0.0005)
            saw = kit.wait_until(lambda: is_saving(run) or process.poll() is not None, pause=0)
        else:
            kit.wait_until(lambda: process.poll() is not None, limit=delay, pause=0.005)
            saw = False
        record = None if victim == "mpirun" else kit.heartbeat(run, victim)
        if victim != "mpirun" and record is None:
            # Killed before it had a heartbeat: any process of the session but mpirun.
            others = [pid for pid in kit.members(process.pid) if pid != process.pid]
            target = generator.choice(others) if others else process.pid
        else:
            target = process.pid if victim == "mpirun" else record.process
        if process.poll() is None:
            try:
                os.kill(target, signal.SIGKILL)
            except ProcessLookupError:
                pass
        gone = kit.wait_gone(process.pid, 20)
        left = kit.members(process.pid)
        sandbox.kill_session(process.pid)
        process.wait()
        if left == [process.pid]:
            locked.append(name)
        elif left:
            findings.add(name, f"{len(left)} processes are left 20 s later")
            continue
        else:
            teardown.append((gone, name))
            if gone > 15:
                findings.add_late(name, f"everything is gone only {gone:.1f} s later")
        done, told = max(0, kit.begun(run) - 1), ledger_step(run)
        was_killed = kit.status(run).get("state") != "completed"
        result = sandbox.run(mpirun(ranks, *train(config, run, "--resume")))
        if result.code != 0:
            findings.add(name, f"does not resume (code {result.code}): {kit.last_line(result.error)}")
            continue
        if kit.parameters(run, steps) != wanted:
            findings.add(name, "the final parameters differ")
        if was_killed:
            victims.append(saw)
            match = re.search(r"resuming behind step (\d+)", result.error)
            start = int(match[1]) if match else (done if "nothing to resume" in result.error else 0)
            lost.append((done - start, name))
            ledgers.append(told - start)
            if done - start > interval:
                findings.add(name, f"{done - start} steps lost; a checkpoint every {interval}")
        shutil.rmtree(run)
    worst = max(lost, default=(0, ""))
    figure = f"{len(lost)} killed, {sum(victims)} in a save; lost ≤ {worst[0]} of {interval} steps" \
        f" ({max(ledgers, default=0)} in the ledger), gone in {max(teardown, default=(0, ''))[0]:.1f} s, same bits" \
        + (f"; {len(locked)} × mpirun locked itself" if locked else "")
    return findings.row("kills", count, figure, f"{worst[1]}: {worst[0]} steps")


def signals(sandbox, options, report):
    """mpirun passes USR1 on at once, but TERM and INT only after its patience, from which on steps are counted. A second
    INT makes mpirun itself end without waiting for the ranks, so that nothing can be saved: that run must go on from what it
    had. launch/run, which users call, makes a request of a first Ctrl-C."""
    steps, patience = 40, 1
    # Steps that take long beside the way of a signal, and beside what mpirun's patience is not exact by.
    config = kit.configuration(sandbox, steps=steps, every=1000, batch=8192)
    wanted, _ = undisturbed(sandbox, config, steps)
    findings, late = Findings(options), []
    kinds = [("SIGUSR1", [signal.SIGUSR1], False), ("SIGTERM", [signal.SIGTERM], False),
             ("SIGINT", [signal.SIGINT], False), ("double SIGINT of mpirun", [signal.SIGINT] * 2, False),
             ("double Ctrl-C of launch/run", [signal.SIGINT] * 2, True)]
    rounds = 1 if options.short else 5
    for case in range(rounds * len(kinds)):
        name, sent, launched = kinds[case % len(kinds)]
        report(name)
        run = sandbox.path("stopped")
        command = mpirun(2, *train(config, run), patience=patience)
        if launched:
            command = [kit.ROOT / "launch/run", 2, config, "--out", run, "--oversubscribe"]
        process = sandbox.start(command)
        kit.wait_until(lambda: kit.begun(run) >= 5 or process.poll() is not None)
        time.sleep(random.Random(options.seed + case).uniform(0, 0.2))
        at = kit.begun(run)
        pids = [record.process for rank in (0, 1) if (record := kit.heartbeat(run, rank))]
        for number, one in enumerate(sent):
            if number:
                time.sleep(0.3)
            if process.poll() is None:
                os.kill(process.pid, one)
        if not launched and sent[0] != signal.SIGUSR1:
            kit.wait_until(lambda: process.poll() is not None, 0.95 * patience)
            at = kit.begun(run)
        if not kit.wait_until(lambda: process.poll() is not None, 30):
            findings.add(name, "mpirun still runs 30 s later")
            sandbox.kill_session(process.pid)
            process.wait()
            continue
        if not kit.wait_until(lambda: not any(is_running(pid) for pid in pids), 10):
            findings.add(name, "a rank has outlived mpirun")
        status, saved = kit.status(run), kit.checkpoints(run)
        if status.get("state") == "completed":
            findings.add_late(name, "the run was at its end before it was asked to stop")
        elif launched or len(sent) == 1:
            if status.get("state") != "preempted" or status.get("exit_code") != 75:
                findings.add(name, f"status {status.get('state')}, code {status.get('exit_code')}")
            late.append((saved[-1] - at if saved else steps, name))
            if not saved or saved[-1] > at + 1:
                findings.add_late(name, f"sent in step {at}, checkpoints {saved}")
        result = sandbox.run(mpirun(2, *train(config, run, "--resume")))
        if result.code != 0 or kit.parameters(run, steps) != wanted:
            findings.add(name, f"resumed with code {result.code}, or other final parameters")
    worst = max(late, default=(0, ""))
    return findings.row("signals", rounds * len(kinds), f"saved ≤ {worst[0]} steps later, preempted, same bits", worst[1])


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def hang(sandbox, options, report):
    timeout = 3
    config = kit.configuration(sandbox, steps=100_000, every=50, timeout=timeout)
    findings, named, gone = Findings(options), [], []
    generator = random.Random(options.seed)
    count = 2 if options.short else 20
    for case in range(count):
        ranks = (2, 4)[case % 2]
        rank = generator.randrange(ranks)
        name = f"rank {rank} of {ranks} stopped"
        report(name)
        run, log = sandbox.path("hung"), sandbox.path("log")
        process = sandbox.start(mpirun(ranks, *train(config, run)), log)
        kit.wait_until(lambda: kit.begun(run, rank) > 5 or process.poll() is not None)
        time.sleep(generator.uniform(0, 0.3))
        record = kit.heartbeat(run, rank)
        if record is None:
            findings.add(name, f"does not start: {kit.last_line(log.read_text())}")
            continue
        os.kill(record.process, signal.SIGSTOP)
        begin = time.monotonic()
        text = f"error: rank {rank} on "
        if kit.wait_until(lambda: text in log.read_text(errors="replace"), timeout + 30):
            seconds = time.monotonic() - begin
            named.append((seconds, name))
            if seconds > timeout + 5:
                findings.add_late(name, f"named only {seconds:.1f} s later, with a timeout of {timeout} s")
        else:
            findings.add(name, f"not named: {kit.last_line(log.read_text(errors='replace'))}")
        end = kit.wait_gone(process.pid, 30)
        gone.append((end if end is not None else 30, name))
        if end is None or end > 10:
            findings.add_late(name, "everything is not gone 10 s later")
        sandbox.kill_session(process.pid)
        process.wait()
        if kit.status(run).get("exit_code") != 80:
            findings.add(name, f"status.json has exit code {kit.status(run).get('exit_code')}")
        shutil.rmtree(run)
    worst, last = max(named, default=(0, "")), max(gone, default=(0, ""))
    return findings.row("hang", count, f"named ≤ {worst[0]:.1f} s (timeout {timeout} s), gone ≤ {last[0]:.1f} s later",
                        worst[1])


def slow(sandbox, options, report):
    config = kit.configuration(sandbox, steps=100_000, every=0, batch=1024)
    findings, flagged = Findings(options), []
    count = 2 if options.short else 10
    for case in range(count):
        rank = case % 2
        name = f"rank {rank} of 2 slowed"
        report(name)
        run, log = sandbox.path("slow"), sandbox.path("log")
        process = sandbox.start(mpirun(2, *train(config, run)), log)
        # The monitor knows how fast both were before.
        kit.wait_until(lambda: kit.begun(run, rank) > 20 or process.poll() is not None)
        record = kit.heartbeat(run, rank)
        if record is None:
            findings.add(name, f"does not start: {kit.last_line(log.read_text())}")
            continue
        first, text = kit.begun(run, rank), f"warning: rank {rank} on "
        early = text in log.read_text(errors="replace")
        while process.poll() is None and kit.begun(run, rank) <= first + 40:
            os.kill(record.process, signal.SIGSTOP)
            time.sleep(0.004)
            os.kill(record.process, signal.SIGCONT)
            time.sleep(0.004)
            if text in log.read_text(errors="replace"):
                break
        # The warning stands behind the step before the one that is under way.
        took = kit.begun(run, rank) - 1 - first
        flagged.append((took, name))
        if early:
            findings.add(name, "flagged before it was slowed")
        elif took > 20 or text not in log.read_text(errors="replace"):
            findings.add(name, f"not flagged within 20 steps ({took})")
        sandbox.kill_session(process.pid)
        process.wait()
        shutil.rmtree(run)
    worst = max(flagged, default=(0, ""))
    return findings.row("slow rank", count, f"flagged within {worst[0]} steps", worst[1])


def replicas(sandbox, options, report):
    findings = Findings(options)
    count = 1 if options.short else 10
    if not kit.RANK_PROGRAMS.exists():
        return Row("replicas", 0, "not run", None, "`swift build -c release --build-tests` makes rank-programs")
    config = kit.configuration(sandbox, steps=60, check=4)
    for case in range(count):
        ranks = 4
        report(f"a flipped bit in rank {ranks - 1} of {ranks}")
        result = sandbox.run(mpirun(ranks, kit.RANK_PROGRAMS, "flipped-bit", config, sandbox.path("flipped"), patience=1))
        found = re.search(rf"after step 4 the replicas.*rank {ranks - 1} \(", result.error, re.S)
        tensor = re.search(r"tensor (\S+)|(\S*embedding\S*)", result.error)
        if result.code != 82 or not found or not tensor:
            findings.add(f"{ranks} ranks", f"code {result.code}: {kit.last_line(result.error)}")
    return findings.row("replicas", count, "found at the next check (step 4), rank and tensor named",
                        "the bit and the tensor are always the same; rank-programs replica-check goes through all")


def unlike(sandbox, options, report):
    findings = Findings(options)
    config = kit.configuration(sandbox)
    other = sandbox.folder / "other-program"
    shutil.copy(LOCKSTEP, other)
    with open(other, "ab") as file:
        file.write(b"\0")
    folders = []
    for text in (b"A", b"B"):
        folder = sandbox.path("node")
        folder.mkdir()
        (folder / "tokens.bin").write_bytes(shard(b"the same text" * 400 + text))
        folders.append(folder)
    data = kit.configuration(sandbox, data="tokens.bin")
    run = sandbox.folder / "refused"
    kernels = [["env", f"OPENBLAS_CORETYPE={core}", *train(config, run)] for core in ("Haswell", "SkylakeX")]
    kinds = {
        "configuration": (train(config, run), train(config, run, "train.seed=9"), "the configuration differs"),
        "data": (["-wdir", folders[0], *train(data, run)], ["-wdir", folders[1], *train(data, run)], "differs"),
        "BLAS kernel": (kernels[0], kernels[1], "choice of kernels differs"),
        "program": (train(config, run), [other, *train(config, run)[1:]], "the program differs"),
    }
    count = 0
    for name, (first, second, text) in kinds.items():
        for one, two in ((first, second), (second, first)):
            count += 1
            report(f"ranks of unlike {name}")
            result = sandbox.run([*mpirun(1, *one, patience=1), ":", "-n", 1, *two])
            if result.code != 78 or text not in result.error:
                findings.add(name, f"code {result.code}: {kit.last_line(result.error)}")
            if kit.checkpoints(run) or (run / "ledger.jsonl").exists():
                findings.add(name, "trained all the same")
                shutil.rmtree(run)
    return findings.row("unlike ranks", count, f"{', '.join(kinds)}: refused before step 1 (78)")


def shard(tokens):
    """A token shard as llm.c has it: 256 words of header, then 16 bits a token."""
    header = [20240520, 1, len(tokens)] + [0] * 253
    return b"".join(word.to_bytes(4, "little") for word in header) + b"".join(bytes([byte, 0]) for byte in tokens)


def same_bits(sandbox, options, report):
    count = 2 if options.short else 20
    config = kit.configuration(sandbox, steps=60, every=0)
    findings, wanted = Findings(options), None

    def one(ranks):
        run = sandbox.path("same")
        result = sandbox.run(mpirun(ranks, *train(config, run)))
        files = kit.parameters(run, 60) if result.code == 0 else b""
        shutil.rmtree(run, ignore_errors=True)
        return result, files

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        jobs = [(ranks, pool.submit(one, ranks)) for _ in range(count) for ranks in (1, 2, 4)]
        for case, (ranks, job) in enumerate(jobs):
            result, files = job.result()
            report(f"run {case + 1} of {len(jobs)}, {ranks} ranks")
            wanted = wanted or files
            if result.code != 0 or not files or files != wanted:
                findings.add(f"run {case + 1} on {ranks} ranks", f"code {result.code}, or other parameters")
    return findings.row("same bits", len(jobs), f"{count} runs × np 1, 2, 4 bit-identical")
