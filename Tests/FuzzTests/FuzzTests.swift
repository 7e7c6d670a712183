import FuzzTargets
import Testing

/// A short fuzz of every format, the same in every run; `launch/fuzz` is the long one.
@Suite struct FuzzTests {
    @Test(arguments: Format.allCases)
    func seedsAreReadOrRefused(format: Format) throws {
        let target = try FuzzTarget(format)
        for (index, seed) in try format.seeds().enumerated() {
            let isAccepted = try target.accepts(seed)
            #expect(isAccepted || index > 0, "the sound seed is refused")
        }
    }

    @Test(arguments: Format.allCases)
    func mutatedSeedsAreReadOrRefused(format: Format) throws {
        let target = try FuzzTarget(format)
        let seeds = try format.seeds()
        var mutator = Mutator(seed: 1)
        var accepted = 0
        let trials = 2000
        for trial in 0..<trials {
            var bytes = seeds[trial % seeds.count]
            mutator.mutate(&bytes, among: seeds, most: 1 << 16)
            if try target.accepts(bytes) { accepted += 1 }
        }
        #expect((1..<trials).contains(accepted), "the mutations are all of one kind")
    }
}
