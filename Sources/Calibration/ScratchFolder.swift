import Configs
import Corpus
import Cost
import Foundation
import Kernels
import MessagePassing
import Training

/// A folder for the files of a calibration, below the working directory, because that is where runs go.
struct ScratchFolder {
    let path: String
    private let isOwner: Bool

    /// Rank 0 makes it, under a name that all ranks agree on. Collective.
    init(on world: borrowing Communicator) throws {
        let stamp = try withUnsafeTemporaryAllocation(of: Int32.self, capacity: 1) { stamp in
            stamp[0] = getpid()
            try world.broadcast(stamp, from: 0)
            return stamp[0]
        }
        let path = "\(FileManager.default.currentDirectoryPath)/.lockstep-calibration-\(stamp)"
        self.path = path
        isOwner = world.rank == 0
        try world.collectively {
            guard world.rank == 0 else { return }
            do {
                try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
            } catch {
                throw LockstepError(
                    .cannotCreate,
                    "\(path): \(error.localizedDescription); calibrate in a folder that can be written")
            }
        }
    }

    func remove() {
        if isOwner { try? FileManager.default.removeItem(atPath: path) }
    }

    /// Random tokens below 256, to train probes on. Collective.
    func corpus(on ranks: borrowing Communicator) throws -> TokenShard {
        let file = "\(path)/tokens.bin"
        try ranks.collectively {
            guard ranks.rank == 0, !FileManager.default.fileExists(atPath: file) else { return }
            var random = SystemRandomNumberGenerator()
            var writer = try TokenShardWriter(path: file)
            try writer.append((0..<1 << 19).map { _ in UInt16.random(in: 0..<256, using: &random) })
            try writer.finish()
        }
        return try ranks.collectively { try TokenShard(path: file) }
    }

    /// Seconds to write and sync, of a small file, and of every further byte.
    func measureCheckpoints(on ranks: borrowing Communicator) throws -> Profile.CheckpointModel? {
        try ranks.collectively {
            guard ranks.rank == 0 else { return nil }
            func time(_ bytes: Int) throws -> Double {
                let data = Data(count: bytes)
                return try (0..<3).map { _ in
                    try seconds { try CheckpointFile.writeSample(data, into: path) }
                }.median
            }
            let (small, large) = (1 << 16, 1 << 25)
            let (first, second) = (try time(small), try time(large))
            return .init(
                // Parameters, optimizer, state, manifest and the pointer to them are five files, in two folders, of which
                // one is synced twice.
                seconds: 8 * first, secondsPerByte: max(0, second - first) / Double(large - small))
        }
    }
}

extension Communicator {
    /// Runs `body` on rank 0, whose error all ranks throw, while the cores of the others are free. Collective.
    func whileOthersSleep(_ body: () throws -> Void) throws {
        let outcome = rank == 0 ? Result(catching: body) : .success(())
        try waitQuietly()
        try collectively { try outcome.get() }
    }

    /// Waits until rank 0 comes here, leaving the cores to those who work meanwhile.
    func waitQuietly() throws {
        guard size > 1 else { return }
        let tag = Communicator.maximumTag - 1
        try withUnsafeTemporaryAllocation(of: Int32.self, capacity: 1) { token in
            token[0] = 0
            if rank == 0 {
                for other in 1..<size { try send(UnsafeBufferPointer(token), to: other, tag: tag) }
            } else {
                var request = try startReceive(into: token, from: 0, tag: tag)
                while try !request.test() { usleep(2000) }
                try request.wait()
            }
        }
        try barrier()
    }
}
