import Configs
import Foundation
import Kernels
import Ledger
import Training
import Transformer

extension FuzzTarget {
    /// Of the run that left the seeds.
    private static let step = 4

    /// A manifest or state among sound files. The manifest's hashes are made right again, so that what is behind them is
    /// reached; a manifest is read as it is, too.
    static func checkpoint(_ format: Format, _ scratch: Scratch) throws -> Parser {
        let folder = "checkpoints/step-\(step)"
        var neighbours: [Manifest.File] = []
        func add(_ bytes: [UInt8], _ name: String) throws {
            try scratch.write(bytes, to: "\(folder)/\(name)")
            neighbours.append(Manifest.File(name: name, content: bytes))
        }
        try add(Format.model.soundSeed(), Format.model.fileName)
        for rank in 0..<2 {
            let name = OptimizerState.fileName(rank: rank, ranks: 2)
            try add(Format.optimizer.seed(name), name)
        }
        if format == .manifest { try add(Format.state.soundSeed(), Format.state.fileName) }
        let run = try RunDirectory(existing: scratch.path)
        let path = "\(folder)/\(Manifest.name)"
        return { [neighbours] bytes in
            if format == .state {
                try scratch.write(bytes, to: "\(folder)/\(format.fileName)")
                let file = Manifest.File(name: format.fileName, content: bytes)
                try scratch.write(
                    [UInt8](Manifest(step: step, files: neighbours + [file]).encoded()), to: path)
                _ = try CheckpointLoader.newestWholeStep(of: run)
                return
            }
            try scratch.write(bytes, to: path)
            try use { _ = try CheckpointLoader.newestWholeStep(of: run) }
            if let read = try? JSONDecoder().decode(Manifest.self, fromUntrusted: Data(bytes)) {
                try scratch.write([UInt8](Manifest(step: read.step, files: read.files).encoded()), to: path)
            }
            _ = try CheckpointLoader.newestWholeStep(of: run)
        }
    }

    /// The parameters of a checkpoint, read into a model.
    static func model(_ scratch: Scratch) throws -> Parser {
        let network = try network(scratch)
        return { bytes in
            let path = try scratch.write(bytes, to: "model.safetensors")
            try CheckpointLoader.read(path, layout: network.layout, into: network.parameters)
            guard (0..<network.layout.count).allSatisfy({ network.parameters[$0].isFinite }) else {
                throw Breach("parameters that are not finite")
            }
        }
    }

    /// One rank's file of the optimizer's state of two, read by a rank that needs all of it.
    static func optimizer(_ scratch: Scratch) throws -> Parser {
        let parameters = try network(scratch).layout.count
        let names = ["exp_avg", "exp_avg_sq"]
        let other = OptimizerState.fileName(rank: 1, ranks: 2)
        try scratch.write(Format.optimizer.seed(other), to: other)
        let numbers = try AlignedBuffer<Float>(count: names.count * parameters)
        let holder = Holder(numbers)
        return { bytes in
            try scratch.write(bytes, to: "optimizer-0-of-2.safetensors")
            try OptimizerState(
                base: holder.numbers.base, slots: names.count, stride: parameters,
                ranges: [(0..<parameters, 0)]
            ).load(from: scratch.path, names: names, parameters: parameters, ranks: 2)
        }
    }

    /// A closure cannot hold a buffer itself.
    private final class Holder {
        let numbers: AlignedBuffer<Float>
        init(_ numbers: consuming AlignedBuffer<Float>) { self.numbers = numbers }
    }

    private static func network(_ scratch: Scratch) throws -> LanguageModel {
        let config = try RunConfig.load(path: scratch.write(Format.config.soundSeed(), to: "config.yaml"))
        return try LanguageModel(
            config: config.model, microBatch: 1, purpose: .inference, backend: OpenBLAS())
    }
}

extension Manifest.File {
    fileprivate init(name: String, content: [UInt8]) {
        self.init(name: name, bytes: content.count, sha256: Digest.text(of: content))
    }
}
