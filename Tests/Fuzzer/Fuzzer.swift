import FuzzTargets

// What libFuzzer calls. `launch/fuzz` builds and starts it; `--format=NAME` is among its arguments, of which libFuzzer
// itself ignores those with two dashes.

private nonisolated(unsafe) let target: FuzzTarget = {
    let names = CommandLine.arguments.compactMap { $0.hasPrefix("--format=") ? String($0.dropFirst(9)) : nil }
    guard let format = names.last.flatMap(Format.init(rawValue:)) else {
        fatalError("give --format=NAME, one of \(Format.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    do { return try FuzzTarget(format) } catch { fatalError("\(error)") }
}()

@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ start: UnsafePointer<UInt8>, _ count: Int) -> Int32 {
    do {
        _ = try target.accepts(Array(UnsafeBufferPointer(start: start, count: count)))
    } catch {
        fatalError("\(error)")
    }
    return 0
}

/// libFuzzer's own mutations by turns with those that know the formats.
@_cdecl("LLVMFuzzerCustomMutator")
public func mutate(
    _ start: UnsafeMutablePointer<UInt8>, _ count: Int, _ most: Int, _ seed: UInt32
) -> Int {
    guard seed.isMultiple(of: 2) else { return mutateBlindly(start, count, most) }
    var bytes = Array(UnsafeBufferPointer(start: start, count: count))
    var mutator = Mutator(seed: UInt64(seed))
    mutator.mutate(&bytes, most: most)
    start.update(from: bytes, count: bytes.count)
    return bytes.count
}

@_silgen_name("LLVMFuzzerMutate")
private func mutateBlindly(_ start: UnsafeMutablePointer<UInt8>, _ count: Int, _ most: Int) -> Int
