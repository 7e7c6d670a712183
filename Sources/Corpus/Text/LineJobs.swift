import Configs
import Glibc

/// Whole lines of a file that make up about a mebibyte.
struct LineJobs: Sequence, IteratorProtocol {
    private let text: UnsafeRawBufferPointer
    private var position: Int
    private let end: Int

    /// - Parameter part: of the file, from the beginning of a line to that of another one or the end.
    init(_ text: UnsafeRawBufferPointer, in part: Range<Int>) {
        self.text = text
        position = part.lowerBound
        end = part.upperBound
    }

    mutating func next() -> Range<Int>? {
        guard position < end else { return nil }
        let start = position
        let target = Swift.min(end, start + TextPieces.pieceBytes)
        position = Swift.min(end, lineEnd(text, from: target - 1))
        return start..<position
    }

    /// Calls `body` with every line of `job` that is more than white space, and where it begins.
    static func forEachLine(
        _ text: UnsafeRawBufferPointer, in job: Range<Int>,
        _ body: (UnsafeRawBufferPointer, _ start: Int) throws -> Void
    ) rethrows {
        var position = job.lowerBound
        while position < job.upperBound {
            let end = Swift.min(job.upperBound, lineEnd(text, from: position))
            var line = text[position..<end]
            while let last = line.last, last == 0x0A || last == 0x0D { line = line.dropLast() }
            if line.contains(where: { ![0x20, 0x09].contains($0) }) {
                try body(UnsafeRawBufferPointer(rebasing: line), position)
            }
            position = end
        }
    }
}

/// Behind the end of the line that `start` is in.
func lineEnd(_ text: UnsafeRawBufferPointer, from start: Int) -> Int {
    guard start < text.count, let base = text.baseAddress,
        let newline = memchr(base + start, 0x0A, text.count - start)
    else { return text.count }
    return UnsafeRawPointer(newline) - base + 1
}

/// What is wrong with a line of a file.
struct LineFault: Error {
    /// Where the line begins, in bytes from the beginning of the file.
    let start: Int
    /// Completes "…: ".
    let text: String

    func error(_ path: String, _ file: UnsafeRawBufferPointer) -> LockstepError {
        let line = 1 + file[..<start].count { $0 == 0x0A }
        return LockstepError(.badData, "\(path), line \(line): \(text)")
    }
}
