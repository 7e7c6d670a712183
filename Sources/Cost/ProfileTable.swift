/// A profile for the eyes: what each layout reaches, and how well the fits hold.
public struct ProfileTable {
    private let profile: Profile

    public init(_ profile: Profile) {
        self.profile = profile
    }

    public var text: String {
        let machine = profile.machine
        let head = """
            \(machine.host): \(machine.cpu), \(machine.cores) cores, \(Quantity.bytes(machine.memory)) of memory
            \(machine.mpi); BLAS kernels \(machine.blasKernels), blocks of \(profile.packing.blockRows) × \
            \(profile.packing.panelDepth)

            """
        let columns: [(String, (Profile.Layout) -> String)] = [
            (
                "ranks × threads",
                {
                    "\($0.ranksPerHost * $0.hosts) × \($0.threads)"
                        + ($0.hosts > 1 ? " on \($0.hosts) hosts" : "")
                }
            ),
            (
                "product",
                {
                    "\(Int($0.reference.flopsPerSecond / 1e9)) GFLOP/s ±\(percent($0.reference.productSpread))"
                }
            ),
            (
                "row kernels",
                {
                    "\(tenths($0.reference.kernelElementsPerSecond / 1e9)) G/s ±\(percent($0.reference.kernelSpread))"
                }
            ),
            (
                "copy",
                {
                    "\(tenths($0.reference.copyBytesPerSecond / 1e9)) GB/s ±\(percent($0.reference.copySpread))"
                }
            ),
            (
                "fit error",
                { layout in
                    let errors = layout.products.values.map(\.cold.medianError)
                    return percent(errors.reduce(0, +) / Double(max(1, errors.count)))
                }
            ),
            ("whole steps", { "±\(percent($0.phases.scatter))" }),
            (
                "reduction",
                { layout in
                    layout.reductions.first.map { model in
                        "\(Int(model.latency * 1e6)) µs + \(tenths(1e-9 / max(1e-15, model.secondsPerByte))) GB/s"
                    } ?? "-"
                }
            ),
            (
                "bare rank",
                { Quantity.bytes($0.memory.total) + " + " + Quantity.bytes($0.memory.coordinator) }
            ),
            ("took", { "\(Int($0.duration)) s" }),
        ]
        let rows = [columns.map(\.0)] + profile.layouts.map { layout in columns.map { $0.1(layout) } }
        let widths = columns.indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        let lines = rows.map { row in
            zip(row, widths).map { $0 + String(repeating: " ", count: $1 - $0.count) }.joined(
                separator: "   ")
        }
        return head + "\n" + lines.joined(separator: "\n") + "\n"
            + profile.notes.map { "note: \($0)\n" }.joined()
    }
}

private func percent(_ share: Double) -> String { "\(tenths(100 * share)) %" }

private func tenths(_ value: Double) -> String {
    let scaled = Int((value * 10).rounded())
    return "\(scaled / 10).\(scaled % 10)"
}
