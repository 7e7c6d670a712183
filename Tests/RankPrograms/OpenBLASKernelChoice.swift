import Kernels
import MessagePassing

/// Has OpenBLAS use other kernels than it chose, and multiplies with each.
func openBLASKernelsAreExchanged(_ world: borrowing Communicator) throws {
    // Asked for before anything else: an estimate does.
    let configuration = OpenBLAS.configuration
    let chosen = OpenBLAS.coreName
    try require(
        configuration.lowercased().contains(chosen.lowercased()), "\(configuration) is not with \(chosen)")
    let matMul = MatMul(backend: OpenBLAS())
    for kernels in ["Prescott", "Nehalem", chosen] {
        try require(OpenBLASKernels.exchange(for: kernels), "OpenBLAS refuses kernels for \(kernels)")
        try require(OpenBLASKernels.current, equals: kernels, "the name of the kernels")
        try multiply(with: matMul, kernels)
    }
    try require(!OpenBLASKernels.exchange(for: "no CPU"), "OpenBLAS has kernels for no CPU")
    try require(OpenBLASKernels.current, equals: chosen, "the name of the kernels before")
    try multiply(with: matMul, chosen)
}

/// Whole numbers, whose sums are exact in any order.
private func multiply(with matMul: MatMul, _ kernels: String) throws {
    let (m, n, k) = (65, 129, 300)
    let x = try AlignedBuffer<Float>(count: m * k), weight = try AlignedBuffer<Float>(count: n * k)
    let y = try AlignedBuffer<Float>(count: m * n)
    for i in 0..<m * k { x.base[i] = Float(i % 7) }
    for i in 0..<n * k { weight.base[i] = Float(i % 5) }
    matMul.forward(
        x.vector.matrix(rows: m, columns: k), weight: weight.vector.matrix(rows: n, columns: k),
        into: y.vector.matrix(rows: m, columns: n))
    for row in 0..<m {
        for column in 0..<n {
            let sum = (0..<k).reduce(0) { $0 + (row * k + $1) % 7 * ((column * k + $1) % 5) }
            let place = "\(kernels): row \(row), column \(column)"
            try require(y.base[row * n + column], equals: Float(sum), place)
        }
    }
}
