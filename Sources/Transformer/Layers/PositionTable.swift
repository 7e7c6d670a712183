import Configs
import Kernels

/// What is known of positions without being learned: sinusoids `[s, h]`, or cosines and sines of rotary angles
/// `[s, h/a]`, for the longer of an encoder's and a decoder's sequences. In the workspace for as long as the model lives.
struct PositionTable {
    let slot: Slot
    private let positions: ModelConfig.Positions
    private let rotaryBase: Double

    /// Nil where positions are learned.
    init?(_ model: ModelConfig, workspace: inout ArenaPlan) {
        (positions, rotaryBase) = (model.positions, model.rotaryBase)
        let columns: Int
        switch positions {
        case .learned: return nil
        case .sinusoidal: columns = model.dModel
        case .rotary: columns = model.dModel / model.numHeads
        }
        slot = workspace.reserve(
            "positions", rows: max(model.contextLength, model.sourceLength), columns: columns)
    }

    /// Writes the table into its place.
    func fill(in workspace: Vector) {
        let table = workspace.slice(slot.offset..<slot.offset + slot.count)
            .matrix(rows: slot.rows, columns: slot.columns)
        switch positions {
        case .learned: break
        case .sinusoidal: Embedding.fillSinusoids(table)
        case .rotary: Rotary.fill(table, base: rotaryBase)
        }
    }
}
