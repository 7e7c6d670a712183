import Foundation
import Ledger
import Testing

@Suite struct MachineFactsTests {
    /// A folder with these files below it, as `/` would have.
    private func facts(_ files: [String: String]) throws -> MachineFacts {
        let root = NSTemporaryDirectory() + "/lockstep-machine-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: root) }
        for (path, text) in files {
            let url = URL(fileURLWithPath: root + path)
            try FileManager.default.createDirectory(
                at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(text.utf8).write(to: url)
        }
        return MachineFacts(root: root)
    }

    private func siblings(_ lists: [String]) -> [String: String] {
        let pairs = lists.enumerated().map {
            ("/sys/devices/system/cpu/cpu\($0.offset)/topology/thread_siblings_list", $0.element + "\n")
        }
        return Dictionary(uniqueKeysWithValues: pairs)
    }

    @Test func readsWhatTheKernelTells() throws {
        var files = siblings(["0,4", "1,5", "2,6", "3,7", "0,4", "1,5", "2,6", "3,7"])
        files["/proc/sys/kernel/hostname"] = "node-7\n"
        files["/proc/cpuinfo"] = """
            processor\t: 0
            model name\t: Some CPU @ 2.0GHz
            flags\t\t: fpu avx2 avx512f

            processor\t: 1
            model name\t: Some CPU @ 2.0GHz
            """
        files["/sys/devices/system/cpu/online"] = "0-7\n"
        files["/proc/self/status"] = "Name:\tx\nCpus_allowed:\t73\nCpus_allowed_list:\t0-1,4-6\n"
        files["/proc/meminfo"] = "MemTotal:       1000 kB\nMemFree:         10 kB\nMemAvailable:    400 kB\n"
        files["/sys/kernel/mm/transparent_hugepage/enabled"] = "always [madvise] never\n"
        let machine = try facts(files)
        #expect(machine.host == "node-7")
        #expect(machine.cpuModel == "Some CPU @ 2.0GHz")
        #expect(machine.cpuFlags == ["avx2", "avx512f", "fpu"])
        #expect(machine.onlineCPUs == 8)
        #expect(machine.affinityCPUs == 5)
        #expect(machine.cores == 3)
        #expect(machine.memoryTotal == 1000 * 1024)
        #expect(machine.memoryAvailable == 400 * 1024)
        #expect(machine.cgroupMemoryLimit == nil)
        #expect(machine.cpuQuota == nil)
        #expect(machine.transparentHugePages == "madvise")
    }

    @Test func smallestLimitOfNestedControlGroupsHolds() throws {
        let memory = ["/proc/meminfo": "MemTotal: 8388608 kB\nMemAvailable: 8000000 kB\n"]
        let second = try facts(
            memory.merging([
                "/proc/self/cgroup": "0::/a/b\n",
                "/sys/fs/cgroup/a/memory.max": "1073741824\n", "/sys/fs/cgroup/a/b/memory.max": "max\n",
                "/sys/fs/cgroup/a/cpu.max": "max 100000\n", "/sys/fs/cgroup/a/b/cpu.max": "150000 100000\n",
            ]) { $1 })
        #expect(second.cgroupMemoryLimit == 1 << 30)
        #expect(second.cpuQuota == 1.5)

        let first = try facts(
            memory.merging([
                "/proc/self/cgroup": "4:memory:/job\n1:cpu,cpuacct:/job\n0::/\n",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
                "/sys/fs/cgroup/memory/job/memory.limit_in_bytes": "2147483648\n",
                "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
                "/sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": "300000\n",
                "/sys/fs/cgroup/cpu/job/cpu.cfs_period_us": "100000\n",
            ]) { $1 })
        #expect(first.cgroupMemoryLimit == 2 << 30)
        #expect(first.cpuQuota == 3)

        let unlimited = try facts(
            memory.merging([
                "/proc/self/cgroup": "4:memory:/\n",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            ]) { $1 })
        #expect(unlimited.cgroupMemoryLimit == nil)
    }

    @Test func whatIsMissingOrStrangeStaysUnknown() throws {
        for files in [
            [:],
            [
                "/proc/cpuinfo": "", "/proc/meminfo": "MemTotal: many kB\nMemAvailable:\n:\n",
                "/proc/self/cgroup": "nonsense\n0:\n0::/../..\n:::\n",
                "/proc/self/status": "Cpus_allowed_list: 3-1,-,x,9-\n",
                "/sys/devices/system/cpu/online": "0-99999999999\n",
                "/sys/kernel/mm/transparent_hugepage/enabled": "always\n",
            ],
        ] {
            let machine = try facts(files)
            #expect(machine.cpuModel == "unknown")
            #expect(machine.memoryTotal == 0 && machine.memoryAvailable == 0)
            #expect(machine.cores >= 1 && machine.affinityCPUs >= 1 && machine.onlineCPUs >= 1)
            #expect(machine.transparentHugePages == nil)
        }
    }

    @Test func thisMachine() throws {
        let machine = MachineFacts()
        #expect(machine.memoryTotal > 0 && machine.memoryAvailable <= machine.memoryTotal)
        #expect((1...machine.onlineCPUs).contains(machine.affinityCPUs))
        #expect((1...machine.affinityCPUs).contains(machine.cores))
        let copy = try JSONDecoder().decode(MachineFacts.self, from: try JSONEncoder().encode(machine))
        #expect(copy == machine)
    }
}

@Suite struct MachineCheckTests {
    private let healthy = MachineFacts.sample
    private let complete = MachineSoftware(
        launcher: "mpirun (Open MPI) 4.1.4",
        mpiLibrary: "Open MPI v4.1.4, package: Debian OpenMPI, ident: 4.1.4, repo rev: v4.1.4, May 26, 2022",
        isRoot: true, rootIsAllowed: true,
        openBLAS: "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH NO_AFFINITY Cooperlake MAX_THREADS=64",
        openBLASCore: "Cooperlake", openBLASBetterCore: nil, openBLASCoreType: nil, openBLASThreads: nil,
        bf16Products: "amx: the best of this CPU and system", bf16Cap: nil, builtISALevel: 4, cpuISALevel: 4,
        diskFree: 8 << 30, canWrite: true, sharedMemoryFree: 1 << 30)

    /// The checks that are not ok, by subject, after a change.
    private func complaints(
        ranks: Int? = nil, threads: Int = 1, machine changeMachine: (inout MachineFacts) -> Void = { _ in },
        software changeSoftware: (inout MachineSoftware) -> Void = { _ in }
    ) -> [String: MachineCheck.Verdict] {
        var (machine, software) = (healthy, complete)
        changeMachine(&machine)
        changeSoftware(&software)
        let checks = MachineCheck.all(machine: machine, software: software, ranks: ranks, threads: threads)
        for check in checks { #expect((check.advice == nil) == (check.verdict == .ok), "\(check)") }
        let bad = checks.filter { $0.verdict != .ok }
        return Dictionary(uniqueKeysWithValues: bad.map { ($0.subject, $0.verdict) })
    }

    @Test func healthyMachine() {
        #expect(complaints() == [:])
        #expect(complaints(ranks: 4) == [:])
        #expect(complaints(ranks: 2, threads: 2) == [:])
    }

    @Test func placement() {
        #expect(complaints(ranks: 5) == ["ranks × threads": .problem])
        #expect(complaints(ranks: 2, threads: 3) == ["ranks × threads": .problem])
        #expect(complaints(threads: 5) == ["ranks × threads": .problem])
        #expect(complaints(ranks: .max, threads: .max) == ["ranks × threads": .problem])
        #expect(complaints(machine: { $0.affinityCPUs = 2 }) == ["cores": .warning])
        #expect(complaints(machine: { $0.cpuQuota = 2.5 }) == ["CPU quota": .warning])
        #expect(complaints(ranks: 2, machine: { $0.cpuQuota = 2.5 }) == [:])
    }

    @Test func messagePassing() {
        #expect(complaints(software: { $0.launcher = nil }) == ["mpirun": .problem])
        #expect(complaints(software: { $0.launcher = "HYDRA build details: 4.0" })["mpirun"] == .problem)
        #expect(
            complaints(software: { $0.launcher = "mpirun (Open MPI) 5.0.1" }) == ["MPI library": .problem])
        #expect(complaints(software: { $0.mpiLibrary = "Open MPI v4.1.40" }) == ["MPI library": .problem])
        #expect(complaints(software: { $0.rootIsAllowed = false }) == ["root": .problem])
        #expect(complaints(software: { ($0.isRoot, $0.rootIsAllowed) = (false, false) }) == [:])
        #expect(complaints(software: { $0.sharedMemoryFree = nil }) == ["/dev/shm": .warning])
        #expect(complaints(software: { $0.sharedMemoryFree = 1 << 20 }) == ["/dev/shm": .warning])
    }

    @Test func arithmetic() {
        #expect(
            complaints(software: { ($0.bf16Products, $0.bf16Cap) = (nil, "avx") }) == [
                "bf16 products": .problem
            ])
        #expect(complaints(software: { $0.cpuISALevel = 3 }) == ["instruction set": .problem])
        #expect(complaints(software: { $0.builtISALevel = 3 }) == ["instruction set": .warning])
        #expect(complaints(software: { ($0.builtISALevel, $0.cpuISALevel) = (1, 2) }) == [:])
        #expect(complaints(software: { ($0.builtISALevel, $0.cpuISALevel) = (0, 0) }) == [:])
        #expect(complaints(machine: { $0.cpuFlags = ["sse2"] }) == ["CPU features": .warning])
        let forceHaswell: (inout MachineSoftware) -> Void = {
            ($0.openBLASCore, $0.openBLASCoreType) = ("Haswell", "Haswell")
        }
        #expect(complaints(software: forceHaswell) == ["OpenBLAS": .warning])
        #expect(complaints(machine: { $0.cpuFlags = ["avx2"] }, software: forceHaswell) == [:])
        for forced in [nil, "Prescott"] {
            var software = complete
            (software.openBLASCore, software.openBLASBetterCore) = ("Prescott", "SkylakeX")
            software.openBLASCoreType = forced
            let checks = MachineCheck.all(machine: healthy, software: software, ranks: 1, threads: 1)
            let check = checks.first { $0.subject == "OpenBLAS" }
            #expect(check?.verdict == .warning)
            #expect(check?.advice?.contains("OPENBLAS_CORETYPE=SkylakeX") == true)
            #expect(check?.finding.contains("because OPENBLAS_CORETYPE=Prescott") == (forced != nil))
        }
    }

    @Test func memoryAndDisk() {
        #expect(complaints(machine: { $0.memoryAvailable = 1 << 29 }) == ["memory": .warning])
        #expect(complaints(machine: { $0.cgroupMemoryLimit = 1 << 29 }) == ["memory": .warning])
        #expect(complaints(machine: { $0.memoryTotal = 0 }) == ["memory": .warning])
        #expect(complaints(machine: { $0.transparentHugePages = "never" }) == ["huge pages": .warning])
        #expect(complaints(software: { $0.diskFree = 1 << 20 }) == ["disk": .warning])
        #expect(complaints(software: { $0.canWrite = false }) == ["disk": .problem])
    }

    @Test func tableAlignsFindings() {
        var software = complete
        software.launcher = nil
        let checks = MachineCheck.all(machine: healthy, software: software, ranks: 2, threads: 1)
        let lines = MachineCheck.table(checks).split(separator: "\n").map(String.init)
        #expect(lines.count == checks.count + 1)
        #expect(lines[0].hasPrefix("problem  mpirun "))
        #expect(lines[1].contains("-> run launch/setup"))
        let findings = zip(checks, lines.filter { !$0.contains("-> ") }).map { check, line in
            line.distance(from: line.startIndex, to: line.range(of: check.finding)!.lowerBound)
        }
        #expect(Set(findings).count == 1)
    }
}

extension MachineFacts {
    fileprivate static var sample: MachineFacts {
        var machine = MachineFacts(root: "/nonexistent")
        machine.cpuModel = "Some CPU"
        machine.cpuFlags = ["amx_tile", "avx2", "avx512_bf16", "avx512f"]
        (machine.onlineCPUs, machine.affinityCPUs, machine.cores) = (4, 4, 4)
        (machine.memoryTotal, machine.memoryAvailable) = (16 << 30, 8 << 30)
        machine.transparentHugePages = "madvise"
        return machine
    }
}
