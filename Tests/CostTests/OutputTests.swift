import Configs
import Cost
import CostTestSupport
import Foundation
import Testing

@Suite struct JSONTests {
    private func object(_ json: String) throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: Data(json.utf8)) as? [String: Any])
    }

    @Test func keysAreThoseOfTheContract() throws {
        let json = try object(Estimate(config: config(), ranks: 2).json())
        #expect(
            Set(json.keys) == [
                "schema_version", "ranks", "hosts", "parameters", "micro_batch", "flops", "memory", "time",
                "traffic",
            ])
        #expect(json["schema_version"] as? Int == 1 && json["ranks"] as? Int == 2)
        #expect(json["parameters"] as? Int == 5032)
        let keys: [String: Set<String>] = [
            "flops": ["forward", "backward", "per_step", "recomputed", "executed"],
            "memory": [
                "parameters", "gradients", "optimizer", "activations", "workspace", "communication", "data",
                "runtime", "coordinator", "peak", "node",
            ],
            "time": [
                "forward", "backward", "reduce", "reduce_overlapped", "wait", "optimizer", "step",
                "evaluation",
                "checkpoint", "uncertainty",
            ],
            "traffic": ["bytes_per_step"],
        ]
        for (name, expected) in keys {
            let section = try #require(json[name] as? [String: Any])
            #expect(Set(section.keys) == expected)
            let unknown = section.filter { $0.value is NSNull }.keys
            #expect(
                Set(unknown)
                    == (name == "time"
                        ? expected : name == "memory" ? ["runtime", "coordinator", "peak", "node"] : []))
        }
    }

    @Test func estimatesDecodeToEqualOnes() throws {
        for profile in [nil, Profile.example()] {
            let estimate = try Estimate(config: config(), ranks: 2, profile: profile)
            #expect(try JSONDecoder().decode(Estimate.self, from: Data(estimate.json().utf8)) == estimate)
        }
    }

    @Test func severalWorldSizesAreOneObject() throws {
        let estimates = try [1, 3].map { try Estimate(config: config(), ranks: $0) }
        let json = try object(Estimate.json(estimates))
        #expect(Set(json.keys) == ["schema_version", "ranks"])
        let ranks = try #require(json["ranks"] as? [[String: Any]])
        #expect(ranks.map { $0["ranks"] as? Int } == [1, 3])
        #expect(try Estimate.json([estimates[0]]) == estimates[0].json())
    }
}

@Suite struct TableTests {
    @Test func tableShowsExactNumbersAndWhatIsUnknown() throws {
        let config = w1()
        let estimates = try [1, 2].map { try Estimate(config: config, ranks: $0) }
        let lines = try Estimate.table(config, estimates).split(separator: "\n")
        func cells(_ label: String) throws -> [Substring] {
            let line = try #require(lines.first { $0.drop { $0 == " " }.hasPrefix(label) })
            return line.split(separator: " ")
        }
        #expect(try cells("Parameters") == ["Parameters", "10,844,160"])
        #expect(try cells("sent a step").suffix(4) == ["43,376,656", "B", "41.4", "MiB"])
        #expect(try cells("peak") == ["peak", "not", "calibrated", "not", "calibrated"])
        #expect(lines.allSatisfy { !$0.hasSuffix(" ") })
    }

    @Test(arguments: [
        (0, "0"), (7, "7"), (999, "999"), (1000, "1,000"), (124_439_808, "124,439,808"), (-12345, "-12,345"),
        (Int.max, "9,223,372,036,854,775,807"), (Int.min, "-9,223,372,036,854,775,808"),
    ])
    func digitsAreGrouped(number: Int, expected: String) {
        #expect(Quantity.grouped(number) == expected)
    }

    @Test(arguments: [
        (0, "0 B"), (999, "999 B"), (1000, "0.98 KiB"), (1024, "1.00 KiB"), (1536, "1.50 KiB"),
        (10_239, "10.0 KiB"), (102_348, "99.9 KiB"), (102_400, "100 KiB"), (43_376_640, "41.4 MiB"),
        (1 << 30, "1.00 GiB"),
        (-2048, "-2.00 KiB"), (Int.max, "8.00 EiB"), (1_048_300_000, "0.98 GiB"),
    ])
    func bytesAreScaled(count: Int, expected: String) {
        #expect(Quantity.bytes(count) == expected)
    }

    @Test func flopsAndSecondsAreScaled() {
        #expect(Quantity.flops(36_540_776_448) == "36.5 GFLOP")
        #expect(Quantity.flops(999_499) == "999 KFLOP")
        #expect(Quantity.flops(999_500) == "1.00 MFLOP")
        #expect(Quantity.seconds(0.0125) == "0.013 s")
        #expect(Quantity.seconds(61.5) == "61.500 s")
    }

    /// A damaged profile may hold any number.
    @Test func numbersBeyondAllMeasureAreShown() {
        #expect(Quantity.seconds(1e300) == "1e+300 s")
        #expect(Quantity.seconds(.infinity) == "inf s")
        #expect(Quantity.duration(.nan) == "nan µs")
        #expect(Quantity.short(.greatestFiniteMagnitude).hasSuffix(" E"))
        #expect(Quantity.percent(1e300) == "1e+302 %" && Quantity.percent(0.541) == "55 %")
    }
}
