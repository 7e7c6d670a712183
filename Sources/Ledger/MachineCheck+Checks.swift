import Cost

extension MachineCheck {
    static func launcher(_ software: MachineSoftware) -> MachineCheck {
        guard let launcher = software.launcher else {
            return MachineCheck(
                "mpirun", .problem, "not in PATH",
                advice: "run launch/setup, or install Open MPI (openmpi-bin)")
        }
        guard launcher.contains("Open MPI") else {
            return MachineCheck(
                "mpirun", .problem, "\(launcher): not Open MPI's",
                advice: "put Open MPI's mpirun first in PATH")
        }
        return MachineCheck("mpirun", launcher)
    }

    static func mpiLibrary(_ software: MachineSoftware) -> MachineCheck {
        let library = String(software.mpiLibrary.prefix { $0 != "," })
        guard let launcher = software.launcher.flatMap({ version(in: $0) }),
            let linked = version(in: library),
            launcher != linked
        else { return MachineCheck("MPI library", library) }
        return MachineCheck(
            "MPI library", .problem, "\(library), but mpirun is of version \(launcher)",
            advice: "put the mpirun of version \(linked) first in PATH, or build again with that installation"
        )
    }

    static func root(_ software: MachineSoftware) -> MachineCheck {
        if software.rootIsAllowed {
            return MachineCheck("root", "mpirun is told by the environment that root is meant")
        }
        return MachineCheck(
            "root", .problem, "mpirun refuses to run as root",
            advice: "become an ordinary user; in a container, "
                + "export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1")
    }

    static func openBLAS(_ software: MachineSoftware, on machine: MachineFacts) -> MachineCheck {
        // "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH NO_AFFINITY Cooperlake MAX_THREADS=64"
        let name = software.openBLAS.split(separator: " ").prefix(2).joined(separator: " ")
        let threads = software.openBLASThreads.map { "OPENBLAS_NUM_THREADS=\($0)" } ?? "threads set per rank"
        let finding = "\(name), kernels \(software.openBLASCore), \(threads)"
        let forced = software.openBLASCoreType
        if let better = software.openBLASBetterCore {
            return MachineCheck(
                "OpenBLAS", .warning,
                "\(finding): these know no fused multiply-add"
                    + (forced.map { ", because OPENBLAS_CORETYPE=\($0) says so" } ?? ""),
                advice: "export OPENBLAS_CORETYPE=\(better): products take a third of the time, or less")
        }
        let wideKernels = ["SkylakeX", "Cooperlake", "SapphireRapids"]
        guard machine.cpuFlags.contains("avx512f"), !wideKernels.contains(software.openBLASCore), let forced
        else { return MachineCheck("OpenBLAS", finding) }
        return MachineCheck(
            "OpenBLAS", .warning, "\(finding): no AVX-512, because OPENBLAS_CORETYPE=\(forced) says so",
            advice:
                "unset OPENBLAS_CORETYPE: products take about two thirds of the time with this CPU's own kernels"
        )
    }

    static func cores(_ machine: MachineFacts) -> MachineCheck {
        let finding = "\(counted(machine.cores, "core")), \(machine.cpuModel)"
        guard machine.affinityCPUs < machine.onlineCPUs else { return MachineCheck("cores", finding) }
        return MachineCheck(
            "cores", .warning,
            "\(finding); the affinity mask has \(machine.affinityCPUs) of \(machine.onlineCPUs) hardware threads",
            advice: "start without taskset, or ask the batch system or container for more cores")
    }

    static func placement(_ machine: MachineFacts, ranks: Int?, threads: Int) -> MachineCheck {
        let subject = "ranks × threads"
        guard let ranks = ranks ?? (machine.cores >= threads ? machine.cores / threads : nil) else {
            return MachineCheck(
                subject, .problem,
                "no room for a rank of \(counted(threads, "thread")) on \(counted(machine.cores, "core"))",
                advice: "lower parallel.threads_per_rank to \(machine.cores) or less")
        }
        let (needed, overflow) = ranks.multipliedReportingOverflow(by: threads)
        guard !overflow, needed <= machine.cores else {
            return MachineCheck(
                subject, .problem, "\(ranks) × \(threads) is more than \(counted(machine.cores, "core"))",
                advice: "use fewer ranks or threads; launch/run --oversubscribe shares cores (slow)")
        }
        return MachineCheck(subject, "\(ranks) × \(threads) of \(counted(machine.cores, "core"))")
    }

    /// Nil when the control group sets no limit.
    static func quota(_ machine: MachineFacts, ranks: Int?, threads: Int) -> MachineCheck? {
        guard let quota = machine.cpuQuota else { return nil }
        let needed = ranks.map { Double($0) * Double(threads) } ?? Double(machine.cores)
        let finding = "the control group allows \(tenths(quota)) CPUs"
        guard quota < needed else { return MachineCheck("CPU quota", finding) }
        return MachineCheck(
            "CPU quota", .warning,
            "\(finding), \(tenths(needed)) are to be busy: ranks will be paused and wait for each other",
            advice: "use at most \(max(1, Int(quota))) ranks × threads, or raise the limit (docker --cpus)")
    }

    static func features(_ machine: MachineFacts) -> MachineCheck {
        let flags = Set(machine.cpuFlags)
        let known = [("AVX2", "avx2"), ("AVX-512", "avx512f"), ("bf16", "avx512_bf16"), ("AMX", "amx_tile")]
        let found = known.filter { flags.contains($0.1) }.map(\.0)
        guard flags.isEmpty || flags.contains("avx2") || flags.contains("asimd") else {
            return MachineCheck(
                "CPU features", .warning, "no AVX2",
                advice: "expect slow training; a CPU made since 2015 is faster")
        }
        return MachineCheck(
            "CPU features", found.isEmpty ? "none that matter here" : found.joined(separator: ", "))
    }

    static func bf16Products(_ software: MachineSoftware) -> MachineCheck {
        guard let products = software.bf16Products else {
            return MachineCheck(
                "bf16 products", .problem, "LOCKSTEP_ISA=\(software.bf16Cap ?? "") names no instructions",
                advice: "unset LOCKSTEP_ISA, or set it to emulated, avx512fma, avx512bf16 or amx")
        }
        return MachineCheck("bf16 products", products)
    }

    /// Nil where there are no x86-64 levels.
    static func instructionSet(_ software: MachineSoftware) -> MachineCheck? {
        let (built, cpu) = (software.builtISALevel, software.cpuISALevel)
        guard built > 0, cpu > 0 else { return nil }
        if built > cpu {
            return MachineCheck(
                "instruction set", .problem,
                "the program was built for x86-64-v\(built), this CPU has v\(cpu)",
                advice: "build it on this machine, or anywhere with LOCKSTEP_ISA_LEVEL=\(cpu)")
        }
        // The kernels come for the levels 1, 3 and 4.
        if cpu > built && cpu >= 3 {
            return MachineCheck(
                "instruction set", .warning,
                "the program was built for x86-64-v\(built), this CPU has v\(cpu)",
                advice: "build it on this machine to use all of the CPU (and without LOCKSTEP_ISA_LEVEL)")
        }
        return MachineCheck("instruction set", "built for x86-64-v\(built), this CPU has v\(cpu)")
    }

    static func memory(_ machine: MachineFacts) -> MachineCheck {
        guard machine.memoryTotal > 0 else {
            return MachineCheck("memory", .warning, "unknown", advice: "mount /proc")
        }
        let limit = machine.cgroupMemoryLimit.map { "; the control group allows \(Quantity.bytes($0))" } ?? ""
        let finding =
            "\(Quantity.bytes(machine.memoryAvailable)) of \(Quantity.bytes(machine.memoryTotal)) available\(limit)"
        guard machine.memoryUsable ?? 0 < 1 << 30 else { return MachineCheck("memory", finding) }
        return MachineCheck(
            "memory", .warning, finding,
            advice: "compare with lockstep estimate; end other programs or raise the limit (docker --memory)")
    }

    static func sharedMemory(_ software: MachineSoftware) -> MachineCheck {
        guard let free = software.sharedMemoryFree else {
            return MachineCheck(
                "/dev/shm", .warning, "missing",
                advice: "mount a tmpfs there; ranks of one host exchange messages in it")
        }
        guard free < 64 << 20 else { return MachineCheck("/dev/shm", "\(Quantity.bytes(free)) free") }
        return MachineCheck(
            "/dev/shm", .warning, "\(Quantity.bytes(free)) free",
            advice:
                "free some, or raise its size (docker --shm-size): ranks of one host exchange messages in it")
    }

    static func disk(_ software: MachineSoftware) -> MachineCheck {
        let finding = "\(Quantity.bytes(software.diskFree)) free in the working directory"
        if !software.canWrite {
            return MachineCheck(
                "disk", .problem, "\(finding), which cannot be written",
                advice: "change to a folder of your own, or train with --out DIR")
        }
        guard software.diskFree < 1 << 30 else { return MachineCheck("disk", finding) }
        return MachineCheck(
            "disk", .warning, finding,
            advice: "free some space: a checkpoint has 12 bytes per parameter (AdamW)")
    }

    static func hugePages(_ machine: MachineFacts) -> MachineCheck {
        let mode = machine.transparentHugePages ?? "not in this kernel"
        guard mode == "never" else { return MachineCheck("huge pages", mode) }
        return MachineCheck(
            "huge pages", .warning, mode,
            advice:
                "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled (a few per cent faster)")
    }

    /// The first version number: `4.1.4` of `mpirun (Open MPI) 4.1.4` and of `Open MPI v4.1.4`.
    private static func version(in text: String) -> String? {
        text.split { !($0.isNumber || $0 == ".") }.first { $0.contains(".") && $0.first != "." }.map(
            String.init)
    }

    static func counted(_ count: Int, _ noun: String) -> String {
        count == 1 ? "1 \(noun)" : "\(count) \(noun)s"
    }

    private static func tenths(_ value: Double) -> String {
        value == value.rounded() && abs(value) < 1e9 ? "\(Int(value))" : "\((value * 10).rounded() / 10)"
    }
}
