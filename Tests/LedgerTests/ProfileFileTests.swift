import Configs
import Cost
import CostTestSupport
import Foundation
import Ledger
import Testing

@Suite struct ProfileFileTests {
    private typealias Object = [String: Any]

    /// Writes the example profile, changed by `change`, and hands its path to `body`.
    private func withProfile<Result>(
        _ change: (inout Object) throws -> Void = { _ in }, _ body: (String) throws -> Result
    ) throws -> Result {
        try withTemporaryFolder { folder in
            let path = folder + "/deep/profile.json"
            try ProfileFile.write(.example(hosts: 2), to: path)
            let text = try Data(contentsOf: URL(filePath: path))
            var object = try #require(JSONSerialization.jsonObject(with: text) as? Object)
            try change(&object)
            try JSONSerialization.data(withJSONObject: object).write(to: URL(filePath: path))
            return try body(path)
        }
    }

    /// Changes what `path` (keys, or indices of arrays) leads to; nil removes it.
    private static func set(_ path: ArraySlice<String>, to value: Any?, in node: Any) throws -> Any {
        let key = try #require(path.first)
        let rest = path.dropFirst()
        if var array = node as? [Any] {
            let index = try #require(Int(key))
            array[index] = try rest.isEmpty ? #require(value) : set(rest, to: value, in: array[index])
            return array
        }
        var object = try #require(node as? Object)
        object[key] = rest.isEmpty ? value : try set(rest, to: value, in: #require(object[key]))
        return object
    }

    private func error(at path: String, _ value: Any?) throws -> LockstepError {
        try withProfile {
            $0 = try #require(
                Self.set(path.split(separator: "/").map(String.init)[...], to: value, in: $0) as? Object)
        } _: { path in
            let error = try failure { try ProfileFile.read(path) }
            #expect(error.status == .badData)
            #expect(error.description.hasPrefix(path))
            return error
        }
    }

    @Test func whatWasWrittenIsRead() throws {
        #expect(try withProfile { try ProfileFile.read($0) } == .example(hosts: 2))
    }

    @Test func aMissingFileIsNamed() throws {
        let error = try failure { try ProfileFile.read("/nowhere/profile.json") }
        #expect(error.status == .inputMissing && error.description.contains("/nowhere/profile.json"))
    }

    @Test(arguments: [0, 1, 100, 5_000]) func aTruncatedFileIsDamaged(bytes: Int) throws {
        try withProfile { path in
            let text = try Data(contentsOf: URL(filePath: path))
            try text.prefix(bytes).write(to: URL(filePath: path))
            let error = try failure { try ProfileFile.read(path) }
            #expect(error.status == .badData && error.description.hasPrefix("\(path): "))
            #expect(error.description.hasSuffix("Calibrate again: mpirun -n N lockstep calibrate"))
        }
    }

    @Test(arguments: [
        (Profile.currentSchemaVersion + 1, "newer program"), (1, "calibrate again"), (0, "calibrate again"),
    ])
    func anotherVersionIsRefused(version: Int, word: String) throws {
        let error = try error(at: "schema_version", version)
        #expect(error.description.contains("schema_version is \(version)"))
        #expect(error.description.contains(word))
    }

    /// A path to a figure, what it becomes, and how the error names it.
    @Test(arguments: [
        ("layouts/0/products/forward/cold/samples/0/seconds", -1.0, "'layouts[0].products.forward'"),
        ("layouts/1/products/weight_gradient/cold/samples/3/m", 0, "'layouts[1].products.weight_gradient'"),
        ("layouts/0/products/forward/cold/coefficients/1", -1e-12, "forward"),
        ("layouts/0/products/forward/hot/samples/0/ratio", 0, "forward"),
        ("layouts/0/kernels/adamw/hot/seconds_per_element", -1, "'layouts[0].kernels.adamw'"),
        ("layouts/1/kernels/relu_forward/hot/seconds_per_call", -1e-6, "'layouts[1].kernels.relu_forward'"),
        ("layouts/0/kernels/fill/cold/seconds_per_row", -1, "'layouts[0].kernels.fill'"),
        ("layouts/1/reference/flops_per_second", 0, "'layouts[1].reference'"),
        ("layouts/0/reference/copy_bytes_per_second", -1e10, "'layouts[0].reference'"),
        ("layouts/1/reference/exchange/shard_bytes_per_second", 0, "'layouts[1].reference'"),
        ("layouts/0/reference/handover_bytes_per_second", -1, "'layouts[0].reference'"),
        ("layouts/0/phases/backward/products", -1, "'layouts[0].phases'"),
        ("layouts/0/checkpoint/seconds", -1, "'layouts[0].checkpoint'"),
        ("layouts/1/overlap/progress", -1, "'layouts[1].overlap'"),
        ("layouts/0/memory/anonymous", -5, "'layouts[0].memory'"),
        ("layouts/1/reductions/0/samples/0/seconds", -1, "'layouts[1].reductions'"),
        ("layouts/0/ranks_per_host", 0, "'layouts[0].ranks_per_host' is 0"),
        ("layouts/0/threads", -2, "'layouts[0].threads' is -2"), ("machine/cores", 0, "'machine.cores' is 0"),
        ("packing/panel_depth", 0, "'packing'"),
    ])
    func aFigureThatNoMachineHasIsNamed(path: String, value: Double, name: String) throws {
        // JSON has one kind of number, JSONSerialization two.
        let number: Any = value == value.rounded() && abs(value) < 1e6 ? Int(value) : value
        let error = try error(at: path, number)
        #expect(error.description.contains(name), "\(error.description)")
        #expect(error.description.contains("lockstep calibrate"))
    }

    @Test(arguments: [
        ("layouts/0/kernels/softmax_forward", "softmax_forward"),
        ("layouts/0/products/input_gradient", "input_gradient"),
        ("layouts/1/head_products/forward", "forward"), ("layouts/0/memory", "memory"),
        ("machine", "machine"), ("layouts", "layouts"), ("layouts/0/reference/copy_spread", "copy_spread"),
        ("schema_version", "schema_version"),
    ])
    func whatIsMissingIsNamed(path: String, name: String) throws {
        let error = try error(at: path, nil)
        #expect(error.description.contains(name), "\(error.description)")
    }

    @Test func noLayoutsAreNoProfile() throws {
        #expect(try error(at: "layouts", [Any]()).description.contains("'layouts' is empty"))
    }

    @Test func whatDiffersOnAnotherMachineIsNamed() throws {
        let machine = Profile.example().machine
        #expect(machine.differences(from: machine) == [])
        var other = machine
        other.host = "elsewhere"
        #expect(machine.differences(from: other) == [])
        (other.cpu, other.cores, other.blasKernels) = ("Other CPU", 64, "Haswell")
        other.tileInstructions = "amx"
        #expect(
            machine.differences(from: other) == [
                "CPU: made-up CPU, here Other CPU", "cores: 2, here 64",
                "BLAS kernels: made-up, here Haswell", "bf16 products: made-up, here amx",
            ])
    }
}
