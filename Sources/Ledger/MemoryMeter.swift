import Foundation

/// Reads what the kernel says about this process's memory; a reading allocates nothing.
///
/// The figures come from Linux's `/proc/self`. Where that does not exist (another system, no `/proc` mounted) every
/// reading is nil.
public struct MemoryMeter: ~Copyable {
    /// Resident memory of the process, in bytes.
    public struct Reading: Sendable, Equatable {
        /// Resident now (`VmRSS`): the sum of the three kinds below.
        public var resident = 0
        /// Highest `resident` so far (`VmHWM`).
        public var peak = 0
        /// Heap, stacks, arenas (`RssAnon`).
        public var anonymous = 0
        /// Mapped files: the binary, libraries, token shards (`RssFile`).
        public var file = 0
        /// Shared memory, such as MPI's segments between ranks of a node (`RssShmem`).
        public var shared = 0

        public init(resident: Int = 0, peak: Int = 0, anonymous: Int = 0, file: Int = 0, shared: Int = 0) {
            self.resident = resident
            self.peak = peak
            self.anonymous = anonymous
            self.file = file
            self.shared = shared
        }
    }

    private let buffer: UnsafeMutableRawBufferPointer

    public init() {
        buffer = .allocate(byteCount: 16_384, alignment: 16)
    }

    deinit { buffer.deallocate() }

    /// What `/proc/self/status` says now.
    public borrowing func read() -> Reading? {
        guard let text = contents("/proc/self/status") else { return nil }
        return Reading(status: text)
    }

    /// Lets the peak count anew from what is resident now. Does nothing where the system does not allow it.
    public borrowing func resetPeak() {
        let descriptor = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        var code = UInt8(ascii: "5")
        _ = write(descriptor, &code, 1)
        close(descriptor)
    }

    /// What this process adds to the memory of its host, and how much of files it has mapped, in bytes. A page of memory
    /// that k processes share counts 1/k in each (`Pss`).
    ///
    /// Ranks of a host map the same files, so that together they take the sum of the first and the largest of the second.
    /// The proportional size of file pages would say less wherever something else has mapped them, too. The kernel walks
    /// the page tables for it, which costs milliseconds in a large process, so it is no figure for every step.
    public borrowing func hostShare() -> (own: Int, files: Int)? {
        guard let files = read()?.file, let text = contents("/proc/self/smaps_rollup"),
            let anonymous = kibibytes("Pss_Anon:", in: text), let shared = kibibytes("Pss_Shmem:", in: text)
        else { return nil }
        return (anonymous + shared, files)
    }

    /// Anonymous memory in bytes, to the page. The figures of `read` are up to some hundred KiB late, because the kernel
    /// counts pages for every CPU apart; this one walks the page tables.
    public borrowing func anonymousExactly() -> Int? {
        guard let text = contents("/proc/self/smaps_rollup") else { return nil }
        return kibibytes("Anonymous:", in: text)
    }

    private borrowing func contents(_ path: StaticString) -> UnsafeRawBufferPointer? {
        let descriptor = path.withUTF8Buffer { bytes in
            bytes.withMemoryRebound(to: CChar.self) { open($0.baseAddress!, O_RDONLY | O_CLOEXEC) }
        }
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var count = 0
        while count < buffer.count {
            let got = Foundation.read(descriptor, buffer.baseAddress! + count, buffer.count - count)
            if got < 0 && errno == EINTR { continue }
            guard got >= 0 else { return nil }
            if got == 0 { break }
            count += got
        }
        return UnsafeRawBufferPointer(rebasing: buffer[..<count])
    }
}

extension MemoryMeter.Reading {
    /// Reads the text of a `/proc/PID/status`; nil when it does not give the resident size and its peak.
    public init?(status text: UnsafeRawBufferPointer) {
        guard let resident = kibibytes("VmRSS:", in: text), let peak = kibibytes("VmHWM:", in: text) else {
            return nil
        }
        self.init(
            resident: resident, peak: max(peak, resident), anonymous: kibibytes("RssAnon:", in: text) ?? 0,
            file: kibibytes("RssFile:", in: text) ?? 0, shared: kibibytes("RssShmem:", in: text) ?? 0)
    }
}

/// The figure of the line `key   1234 kB`, in bytes; nil when there is no such line.
private func kibibytes(_ key: StaticString, in text: UnsafeRawBufferPointer) -> Int? {
    let length = key.utf8CodeUnitCount
    var line = 0
    while line + length < text.count {
        if memcmp(text.baseAddress! + line, key.utf8Start, length) == 0 {
            return number(after: line + length, in: text)
        }
        guard let end = newline(after: line, in: text) else { return nil }
        line = end + 1
    }
    return nil
}

private func newline(after start: Int, in text: UnsafeRawBufferPointer) -> Int? {
    var index = start
    while index < text.count {
        if text[index] == UInt8(ascii: "\n") { return index }
        index += 1
    }
    return nil
}

/// Bytes from the decimal number of kibibytes at `start`, after blanks.
private func number(after start: Int, in text: UnsafeRawBufferPointer) -> Int? {
    var index = start
    while index < text.count, text[index] == UInt8(ascii: " ") || text[index] == UInt8(ascii: "\t") {
        index += 1
    }
    let first = index
    var value = 0
    while index < text.count, value < 1 << 50 {
        let digit = text[index] &- UInt8(ascii: "0")
        guard digit <= 9 else { break }
        value = value * 10 + Int(digit)
        index += 1
    }
    return index > first && value <= Int.max >> 10 ? value << 10 : nil
}
