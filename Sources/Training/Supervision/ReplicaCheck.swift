import Configs
import Kernels
import MessagePassing
import Transformer

/// Compares the replicas: after every step all ranks hold the same parameters, bit for bit, unless memory, a CPU or a
/// program has failed.
package struct ReplicaCheck: ~Copyable {
    private let network: LanguageModel
    /// Steps between two checks; 0 never checks.
    private let interval: Int
    /// `[2, tensors]`: the fingerprint of every tensor, and its complement, so that one maximum also gives the minimum.
    private let prints: AlignedBuffer<Int64>

    package init(_ network: LanguageModel, every interval: Int) throws {
        self.network = network
        self.interval = interval
        prints = try AlignedBuffer(count: 2 * network.layout.tensors.count)
    }

    func isDue(_ step: Int) -> Bool { interval > 0 && step.isMultiple(of: interval) }

    /// Before something is saved that must be right.
    func checkBeforeSaving(_ step: Int, hosts: [String], on world: borrowing Communicator) throws {
        if interval > 0, !isDue(step) { try check(after: step, hosts: hosts, on: world) }
    }

    /// Throws `.replicasDiverged` on every rank when they differ behind step `step`, with the ranks and the first tensor.
    /// Collective.
    package func check(after step: Int, hosts: [String], on world: borrowing Communicator) throws {
        guard world.size > 1 else { return }
        let tensors = network.layout.tensors
        let count = tensors.count
        for (index, tensor) in tensors.enumerated() { prints.base[index] = fingerprint(tensor) }
        for index in 0..<count { prints.base[count + index] = ~prints.base[index] }
        try world.allreduce(
            inPlace: UnsafeMutableBufferPointer(start: prints.base, count: prints.count), .max)
        let differing = (0..<count).filter { prints.base[$0] != ~prints.base[count + $0] }
        guard let first = differing.first else { return }

        let own = [fingerprint(tensors[first])]
        var all = [Int64](repeating: 0, count: world.size)
        try own.withUnsafeBufferPointer { own in
            try all.withUnsafeMutableBufferPointer { try world.allgather(own, into: $0) }
        }
        guard let difference = RankDifference(all) else { return }
        throw error(difference, step, tensors[first].name, others: differing.count - 1, hosts: hosts)
    }

    private func fingerprint(_ tensor: ParameterTensor) -> Int64 {
        let values = network.parameters.slice(tensor.range)
        return Int64(
            bitPattern: Fingerprint.of(
                UnsafeRawBufferPointer(start: values.base, count: 4 * values.count)))
    }

    private func error(
        _ difference: RankDifference, _ step: Int, _ tensor: String, others: Int, hosts: [String]
    ) -> LockstepError {
        let place = others == 0 ? tensor : "\(tensor) and \(others) more tensors"
        let text: String
        if let ranks = difference.outvoted {
            let names = Set(ranks.map { hosts[$0] }).sorted().joined(separator: ", ")
            text =
                "\(RankDifference.list(ranks)) (\(names)) \(ranks.count == 1 ? "has" : "have") other parameters than most ranks in "
                + "\(place). A processor or memory there may be faulty: leave it out"
        } else {
            let ranks = difference.groups.map { RankDifference.list($0) }.joined(separator: " against ")
            text = "\(ranks): their parameters differ in \(place). A processor or memory may be faulty"
        }
        return LockstepError(
            .replicasDiverged,
            "after step \(step) the replicas are no longer the same: \(text), and start again with --resume from the last "
                + "checkpoint, which is kept")
    }
}
