import Configs
import Cost
import Foundation
import Ledger

extension FuzzTarget {
    /// A configuration file: what is accepted reads back as it was written, and has an estimate or cannot have one.
    static func config(_ scratch: Scratch) -> Parser {
        let profile = Profile.uniform()
        return { bytes in
            let path = try scratch.write(bytes, to: "config.yaml")
            let config = try RunConfig.load(path: path)
            guard let again = try? RunConfig.parse(config.yaml(), source: path), again == config else {
                throw Breach("a configuration that does not read back: \(config)")
            }
            try use(config, profile)
        }
    }

    /// A `key.path=value` of the command line.
    static func override(_ scratch: Scratch) throws -> Parser {
        let path = try scratch.write(Format.config.soundSeed(), to: "config.yaml")
        return { bytes in
            let text = String(decoding: bytes, as: UTF8.self)
            do {
                _ = try RunConfig.load(path: path, overrides: [text])
            } catch let error as LockstepError
                where error.description.utf8.starts(with: "override ".utf8)
            {
                throw LockstepError(error.status, "\(path) with \(error.description)")
            }
        }
    }

    /// `config.json` of a Hugging Face model: what is accepted is the model of a configuration that reads back, folder or
    /// not.
    static func pretrained(_ scratch: Scratch) -> Parser {
        let profile = Profile.uniform()
        return { bytes in
            try scratch.write(bytes, to: "model/config.json")
            let config = try RunConfig.fineTuning("\(scratch.path)/model")
            guard let again = try? RunConfig.parse(config.yaml(), source: scratch.path), again == config
            else {
                throw Breach("a configuration that does not read back: \(config)")
            }
            try use(config, profile)
        }
    }

    /// A cluster file, for which a plan is made.
    static func cluster(_ scratch: Scratch) throws -> Parser {
        let config = try RunConfig.load(path: scratch.write(Format.config.soundSeed(), to: "config.yaml"))
        let profile = Profile.uniform()
        return { bytes in
            let path = try scratch.write(bytes, to: "cluster.yaml")
            let cluster = try ClusterConfig.load(path: path)
            try use {
                let goal = PlanGoal(config, tokens: nil, deadline: 3600)
                let plan = try Plan(config, on: cluster, goal, profile: profile, corpusTokens: 1000)
                _ = PlanTable(plan).text(all: true, path: path, overrides: [])
                _ = try plan.json(path: path, overrides: [])
            }
        }
    }

    /// A machine's profile, with which estimates are made.
    static func profile(_ scratch: Scratch) throws -> Parser {
        let config = try RunConfig.load(path: scratch.write(Format.config.soundSeed(), to: "config.yaml"))
        var tiled = config
        tiled.precision.matmul = .high
        return { [tiled] bytes in
            let profile = try ProfileFile.read(scratch.write(bytes, to: "profile.json"))
            _ = ProfileTable(profile).text
            try checkText(profile.machine.differences(from: Profile.uniform().machine).joined())
            try use(config, profile)
            try use(tiled, profile)
        }
    }

    private static func use(_ config: RunConfig, _ profile: Profile) throws {
        for ranks in [1, 2] {
            try use {
                let estimate = try Estimate(
                    config: config, ranks: ranks, profile: profile, corpusTokens: 1000)
                _ = try estimate.json()
                _ = try Estimate.table(config, [estimate])
            }
        }
    }
}
