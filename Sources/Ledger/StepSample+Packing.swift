import Cost

/// A sample as a row of doubles, which is how ranks send it to the coordinator in one gather.
extension StepSample {
    /// Doubles of a packed sample.
    public static let width = 36

    /// Writes the sample into `row`, `width` doubles.
    public func pack(into row: UnsafeMutableBufferPointer<Double>) {
        precondition(row.count == Self.width, "a packed sample has \(Self.width) doubles, not \(row.count)")
        row[0] = Double(step)
        row[1] = Double(rank)
        row[2] = loss
        row[3] = Double(tokens)
        row[4] = learningRate
        row[5] = gradientNorm
        row[6] = seconds.data
        row[7] = seconds.forward
        row[8] = seconds.backward
        row[9] = seconds.reduceOverlapped
        row[10] = seconds.wait
        row[11] = seconds.reduceExposed
        row[12] = seconds.optimizer
        row[13] = seconds.total
        row[14] = Double(matmulFLOPs)
        row[15] = Double(bytes.resident)
        row[16] = Double(bytes.residentPeak)
        row[17] = Double(bytes.residentAnonymous)
        row[18] = Double(bytes.residentFile)
        row[19] = Double(bytes.residentShared)
        row[20] = Double(bytes.parameters)
        row[21] = Double(bytes.gradients)
        row[22] = Double(bytes.optimizer)
        row[23] = Double(bytes.activations)
        row[24] = Double(bytes.workspace)
        row[25] = Double(bytes.communication)
        row[26] = Double(bytes.data)
        row[27] = Double(sentBytes)
        row[28] = isSkipped ? 1 : 0
        row[29] = speed?.flopsPerSecond ?? 0
        row[30] = speed?.kernelElementsPerSecond ?? 0
        row[31] = speed?.copyBytesPerSecond ?? 0
        row[32] = speed?.exchange?.cached ?? 0
        row[33] = speed?.exchange?.gradients ?? 0
        row[34] = speed?.exchange?.shards ?? 0
        row[35] = speed?.handoverBytesPerSecond ?? 0
    }

    /// Reads a row that `pack` wrote.
    public init(unpacking row: UnsafeBufferPointer<Double>) {
        precondition(row.count == Self.width, "a packed sample has \(Self.width) doubles, not \(row.count)")
        self.init(step: Int(row[0]), rank: Int(row[1]))
        loss = row[2]
        tokens = Int(row[3])
        learningRate = row[4]
        gradientNorm = row[5]
        seconds = Seconds(
            data: row[6], forward: row[7], backward: row[8], reduceOverlapped: row[9], wait: row[10],
            reduceExposed: row[11], optimizer: row[12], total: row[13])
        matmulFLOPs = Int(row[14])
        bytes.resident = Int(row[15])
        bytes.residentPeak = Int(row[16])
        bytes.residentAnonymous = Int(row[17])
        bytes.residentFile = Int(row[18])
        bytes.residentShared = Int(row[19])
        bytes.parameters = Int(row[20])
        bytes.gradients = Int(row[21])
        bytes.optimizer = Int(row[22])
        bytes.activations = Int(row[23])
        bytes.workspace = Int(row[24])
        bytes.communication = Int(row[25])
        bytes.data = Int(row[26])
        sentBytes = Int(row[27])
        isSkipped = row[28] != 0
        speed =
            row[29] > 0
            ? Speed(
                flopsPerSecond: row[29], kernelElementsPerSecond: row[30], copyBytesPerSecond: row[31],
                exchange: row[32] > 0 ? .init(cached: row[32], gradients: row[33], shards: row[34]) : nil,
                handoverBytesPerSecond: row[35] > 0 ? row[35] : nil)
            : nil
    }
}
