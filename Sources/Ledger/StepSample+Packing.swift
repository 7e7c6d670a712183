/// A sample as a row of doubles, which is how ranks send it to the coordinator in one gather.
extension StepSample {
    /// Doubles of a packed sample.
    public static let width = 26

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
        row[9] = seconds.reduceExposed
        row[10] = seconds.optimizer
        row[11] = seconds.total
        row[12] = Double(matmulFLOPs)
        row[13] = Double(bytes.resident)
        row[14] = Double(bytes.residentPeak)
        row[15] = Double(bytes.residentAnonymous)
        row[16] = Double(bytes.residentFile)
        row[17] = Double(bytes.residentShared)
        row[18] = Double(bytes.parameters)
        row[19] = Double(bytes.gradients)
        row[20] = Double(bytes.optimizer)
        row[21] = Double(bytes.activations)
        row[22] = Double(bytes.workspace)
        row[23] = Double(bytes.communication)
        row[24] = Double(bytes.data)
        row[25] = Double(sentBytes)
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
            data: row[6], forward: row[7], backward: row[8], reduceExposed: row[9], optimizer: row[10],
            total: row[11])
        matmulFLOPs = Int(row[12])
        bytes.resident = Int(row[13])
        bytes.residentPeak = Int(row[14])
        bytes.residentAnonymous = Int(row[15])
        bytes.residentFile = Int(row[16])
        bytes.residentShared = Int(row[17])
        bytes.parameters = Int(row[18])
        bytes.gradients = Int(row[19])
        bytes.optimizer = Int(row[20])
        bytes.activations = Int(row[21])
        bytes.workspace = Int(row[22])
        bytes.communication = Int(row[23])
        bytes.data = Int(row[24])
        sentBytes = Int(row[25])
    }
}
