/// Encodes texts on several threads, in memory that does not grow with them.
struct ParallelEncoding {
    let tokenizer: any Tokenizer
    private let encoders: [Encoder]

    init(_ tokenizer: any Tokenizer, threads: Int) {
        self.tokenizer = tokenizer
        encoders = (0..<max(1, threads)).map { _ in Encoder(tokenizer.makeEncoder()) }
    }

    /// Hands the tokens of `text` to `body`, in order and part by part, with the bytes of the text that are behind each part.
    func run(_ text: UnsafeRawBufferPointer, body: ([Int32], Int) throws -> Void) throws {
        nonisolated(unsafe) let text = text
        var pieces = ParallelPieces(tokenizer.pieces(of: text), workers: encoders)
        while let round = pieces.round({ encoder, job in encoder.encode(job.pieces, of: text) }) {
            for (job, tokens) in round { try body(tokens, job.end) }
        }
    }

    private final class Encoder {
        private let encoder: any PieceEncoder
        init(_ encoder: any PieceEncoder) { self.encoder = encoder }

        func encode(_ pieces: [TextPiece], of text: UnsafeRawBufferPointer) -> [Int32] {
            var tokens: [Int32] = []
            for piece in pieces { encoder.encode(piece, of: text, into: &tokens) }
            return tokens
        }
    }
}
