import Foundation

extension MachineFacts {
    /// Reads `/proc` and `/sys`; what they do not tell stays unknown.
    ///
    /// - Parameter root: the folder that holds `proc` and `sys`.
    public init(root: String = "") {
        let files = SystemFiles(root: root)
        let status = files.fields("/proc/self/status")
        let memory = files.fields("/proc/meminfo")
        let cpu = files.fields("/proc/cpuinfo")

        host = files.text("/proc/sys/kernel/hostname") ?? "unknown"
        cpuModel = cpu["model name"] ?? "unknown"
        cpuFlags = (cpu["flags"] ?? cpu["Features"] ?? "").split(separator: " ").map(String.init).sorted()

        let online = Self.numbers(inList: files.text("/sys/devices/system/cpu/online") ?? "")
        let allowed = Self.numbers(inList: status["Cpus_allowed_list"] ?? "")
        onlineCPUs = max(1, online.count)
        affinityCPUs = max(1, allowed.count)
        cores = max(1, files.cores(of: allowed).count)

        let total = Self.bytes(memory["MemTotal"])
        memoryTotal = total
        memoryAvailable = Self.bytes(memory["MemAvailable"])
        let groups = files.controlGroups()
        cgroupMemoryLimit = groups.memoryLimits.min().flatMap { total == 0 || $0 < total ? $0 : nil }
        cpuQuota = groups.cpuQuotas.min()
        transparentHugePages =
            files.text("/sys/kernel/mm/transparent_hugepage/enabled").flatMap { modes in
                modes.split(separator: " ").first { $0.hasPrefix("[") }.map {
                    String($0.dropFirst().dropLast())
                }
            }
    }

    /// The cores that this process's affinity mask lets it use, each by the number of its first hardware thread.
    public static func usableCores() -> Set<Int> {
        let files = SystemFiles(root: "")
        return files.cores(of: numbers(inList: files.fields("/proc/self/status")["Cpus_allowed_list"] ?? ""))
    }

    /// The numbers of a kernel list such as `0-2,8`.
    static func numbers(inList list: String) -> [Int] {
        list.split(separator: ",").flatMap { part -> [Int] in
            let ends = part.split(separator: "-").map { Int($0.trimmingCharacters(in: .whitespaces)) }
            guard let first = ends.first ?? nil, let last = ends.last ?? nil, first <= last, last < 1 << 20
            else {
                return []
            }
            return Array(first...last)
        }
    }

    /// Bytes of a figure such as `24682416 kB`.
    private static func bytes(_ figure: String?) -> Int {
        (figure?.split(separator: " ").first.flatMap { Int($0) } ?? 0) * 1024
    }
}

/// Files of the kernel, below a folder that is `/` outside tests.
private struct SystemFiles {
    let root: String

    func text(_ path: String) -> String? {
        (try? String(contentsOfFile: root + path, encoding: .utf8))?
            .trimmingCharacters(in: .whitespacesAndNewlines)
    }

    /// The `name: value` lines of a file; of repeated names the first.
    func fields(_ path: String) -> [String: String] {
        let pairs = (text(path) ?? "").split(separator: "\n").compactMap { line -> (String, String)? in
            let parts = line.split(separator: ":", maxSplits: 1).map {
                $0.trimmingCharacters(in: .whitespaces)
            }
            return parts.count == 2 ? (parts[0], parts[1]) : nil
        }
        return Dictionary(pairs, uniquingKeysWith: { first, _ in first })
    }

    /// The first hardware threads of the cores that `cpus` belong to.
    func cores(of cpus: [Int]) -> Set<Int> {
        let firstSiblings = cpus.map { cpu in
            let siblings = text("/sys/devices/system/cpu/cpu\(cpu)/topology/thread_siblings_list") ?? ""
            return MachineFacts.numbers(inList: siblings).first ?? cpu
        }
        return Set(firstSiblings)
    }

    /// Limits of the process's control groups and of those above them, in versions 1 and 2.
    func controlGroups() -> (memoryLimits: [Int], cpuQuotas: [Double]) {
        var memoryLimits: [Int] = []
        var cpuQuotas: [Double] = []
        for line in (text("/proc/self/cgroup") ?? "").split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard parts.count == 3 else { continue }
            let controllers = parts[1].split(separator: ",")
            let path = String(parts[2])
            if parts[1].isEmpty {
                for folder in folders(from: path, to: "/sys/fs/cgroup") {
                    memoryLimits += [text("\(folder)/memory.max")].compactMap { $0.flatMap { Int($0) } }
                    let share = (text("\(folder)/cpu.max") ?? "").split(separator: " ").map {
                        Double($0) ?? 0
                    }
                    if share.count == 2, share[0] > 0, share[1] > 0 { cpuQuotas.append(share[0] / share[1]) }
                }
            }
            if controllers.contains("memory") {
                for folder in folders(from: path, to: "/sys/fs/cgroup/memory") {
                    memoryLimits += [text("\(folder)/memory.limit_in_bytes")].compactMap {
                        $0.flatMap { Int($0) }
                    }
                }
            }
            if controllers.contains("cpu") {
                for folder in folders(from: path, to: "/sys/fs/cgroup/cpu") {
                    let quota = text("\(folder)/cpu.cfs_quota_us").flatMap { Double($0) } ?? 0
                    let period = text("\(folder)/cpu.cfs_period_us").flatMap { Double($0) } ?? 0
                    if quota > 0, period > 0 { cpuQuotas.append(quota / period) }
                }
            }
        }
        return (memoryLimits, cpuQuotas)
    }

    /// The folder of a group and every folder above it, up to `base`.
    private func folders(from path: String, to base: String) -> [String] {
        let names = path.split(separator: "/")
        return (0...names.count).map { base + names.prefix($0).map { "/\($0)" }.joined() }
    }
}
