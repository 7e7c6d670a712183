import Configs
import Kernels

/// What a decoder multiplies at every step, in 8 bits: a quarter of the bytes to read, for tokens that are only proposed.
final class DraftWeights {
    private let numbers: AlignedBuffer<Int8>
    private let scales: AlignedBuffer<Float>
    /// By the names of the parameters.
    let matrices: [String: QuantizedMatrix]

    var bytes: Int { numbers.bytes + scales.bytes }

    /// - Parameter isNeeded: whether there are any.
    /// - Throws: `AllocationError`.
    init(_ network: LanguageModel, isNeeded: Bool) throws {
        let names = isNeeded ? Set(Self.names(network.config)) : []
        let tensors = network.layout.tensors.filter { names.contains($0.name) }
        numbers = try AlignedBuffer(count: tensors.reduce(0) { $0 + $1.slot.count })
        scales = try AlignedBuffer(count: tensors.reduce(0) { $0 + $1.slot.rows })
        var (matrices, number, scale) = ([String: QuantizedMatrix](), 0, 0)
        for tensor in tensors {
            let slot = tensor.slot
            let matrix = QuantizedMatrix(
                numbers: numbers.vector.slice(number..<number + slot.count)
                    .matrix(rows: slot.rows, columns: slot.columns),
                scales: scales.vector.slice(scale..<scale + slot.rows))
            matrix.round(
                network.parameters.slice(tensor.range).matrix(rows: slot.rows, columns: slot.columns),
                on: network.team)
            matrices[tensor.name] = matrix
            (number, scale) = (number + slot.count, scale + slot.rows)
        }
        self.matrices = matrices
    }

    /// Not those of an encoder, nor of keys and values of a source, which are multiplied once.
    private static func names(_ config: ModelConfig) -> [String] {
        let isPair = config.family == .encoderDecoder
        let layers =
            ["attention.qkv", "attention.output", config.gated ? "mlp.gate_up" : "mlp.up", "mlp.down"]
            + (isPair ? ["cross_attention.query", "cross_attention.output"] : [])
        let prefix = isPair ? "decoder." : ""
        let head =
            !config.tieEmbeddings
            ? "head.weight"
            : (isPair && config.shareEmbeddings ? "" : prefix) + "token_embedding.weight"
        return (0..<config.numLayers).flatMap { layer in
            layers.map { "\(prefix)layers.\(layer).\($0).weight" }
        } + [head]
    }
}
