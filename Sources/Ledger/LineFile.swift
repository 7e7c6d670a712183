import Configs
import Foundation

/// A file of JSON lines that grows at its end, written from a fixed buffer without allocating.
///
/// The file always ends with a whole line: what a crash left of a line is cut when the file is opened, what a failed
/// write left is cut at once. After its first failure the file takes no more lines.
struct LineFile: ~Copyable {
    /// Longest line, in bytes.
    static let longestLine = 8_192

    let path: String
    private let descriptor: Int32
    private var cursor: JSONCursor
    /// Whole lines in the file, in bytes.
    private var written: Int
    private var failed = false
    /// Lines in the buffer.
    private var bufferedLines = 0
    /// Lines that a failure kept from the file.
    private(set) var lostLines = 0

    init(path: String) throws(LockstepError) {
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else {
            throw LockstepError(
                .cannotCreate, "\(path): cannot be opened for writing: \(systemErrorText())")
        }
        self.path = path
        self.descriptor = descriptor
        written = Self.cutPartialLine(descriptor)
        cursor = JSONCursor(capacity: 8 * Self.longestLine)
    }

    deinit {
        cursor.deallocate()
        close(descriptor)
    }

    /// Adds a line: what `body` puts, and a newline. Throws once, when lines could not be written.
    mutating func line(_ body: (inout JSONCursor) -> Void) throws(LockstepError) {
        guard !failed else {
            lostLines += 1
            return
        }
        body(&cursor)
        cursor.put("\n")
        bufferedLines += 1
        if cursor.capacity - cursor.count < Self.longestLine { try flush() }
    }

    /// Hands the buffered lines to the system. Throws once, when they could not be written.
    mutating func flush() throws(LockstepError) {
        guard !failed, cursor.count > 0 else { return }
        var done = 0
        while done < cursor.count {
            let count = write(descriptor, cursor.base + done, cursor.count - done)
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else {
                let reason = systemErrorText()
                failed = true
                lostLines += bufferedLines
                _ = ftruncate(descriptor, off_t(written))
                throw LockstepError(
                    .inputOutput,
                    "\(path): cannot be written: \(reason); it ends before these lines, and no more are added"
                )
            }
            done += count
        }
        written += cursor.count
        bufferedLines = 0
        cursor.count = 0
    }

    /// Cuts the file after its last newline, moves there, and returns that offset.
    private static func cutPartialLine(_ descriptor: Int32) -> Int {
        let size = Int(lseek(descriptor, 0, SEEK_END))
        guard size > 0 else { return 0 }
        return withUnsafeTemporaryAllocation(byteCount: 4_096, alignment: 1) { block in
            var end = size
            while end > 0 {
                let start = max(0, end - block.count)
                let count = pread(descriptor, block.baseAddress!, end - start, off_t(start))
                guard count > 0 else { break }
                if let newline = block[..<count].lastIndex(of: UInt8(ascii: "\n")) {
                    end = start + newline + 1
                    break
                }
                end = start
            }
            if end < size { _ = ftruncate(descriptor, off_t(end)) }
            return Int(lseek(descriptor, off_t(end), SEEK_SET))
        }
    }
}

/// Writes JSON into a fixed piece of memory; whoever makes it deallocates it.
package struct JSONCursor: TextOutputStream {
    let base: UnsafeMutablePointer<UInt8>
    let capacity: Int
    var count = 0

    init(capacity: Int) {
        base = .allocate(capacity: capacity)
        self.capacity = capacity
    }

    func deallocate() { base.deallocate() }

    mutating func put(_ text: StaticString) {
        append(UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    mutating func put(_ value: Int) {
        precondition(value >= 0, "\(value) is no count")
        var digits = 1
        var rest = value
        while rest >= 10 {
            rest /= 10
            digits += 1
        }
        precondition(count + digits <= capacity, "a line longer than its buffer")
        rest = value
        for place in stride(from: count + digits - 1, through: count, by: -1) {
            base[place] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        }
        count += digits
    }

    /// The shortest decimal that reads back as the same double; null when it is not finite.
    mutating func put(_ value: Double) {
        guard value.isFinite else { return put("null") }
        value.write(to: &self)
        let isWhole = base[count - 2] == UInt8(ascii: ".") && base[count - 1] == UInt8(ascii: "0")
        if isWhole { count -= 2 }
    }

    mutating func append(_ bytes: UnsafeBufferPointer<UInt8>) {
        precondition(count + bytes.count <= capacity, "a line longer than its buffer")
        guard let source = bytes.baseAddress else { return }
        (base + count).update(from: source, count: bytes.count)
        count += bytes.count
    }

    package mutating func write(_ string: String) {
        for byte in string.utf8 {
            withUnsafePointer(to: byte) { append(UnsafeBufferPointer(start: $0, count: 1)) }
        }
    }

    // The standard library hands a number's digits to this requirement; its default makes a String of them first.
    package mutating func _writeASCII(_ buffer: UnsafeBufferPointer<UInt8>) { append(buffer) }
}

/// What `errno` means.
func systemErrorText() -> String { String(cString: strerror(errno)) }
