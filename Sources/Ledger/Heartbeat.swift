import Configs
import Foundation
import Synchronization

/// What a rank is doing, kept in a small file of the run (`log/heartbeat-R`) that is mapped into memory, so that telling
/// costs a few stores and others read it although the rank itself no longer answers.
///
/// The training thread writes everything but `alive`, which the watchdog's thread counts up; signs come from the thread
/// that writes a checkpoint, too.
package final class Heartbeat: @unchecked Sendable {
    package enum Activity: Int, Sendable {
        case starting, data, forward, backward, reduceOverlapped, wait, reduceExposed, optimizer
        case ledger, evaluation, checkpoint, replicaCheck

        /// As a message names it.
        package var name: String {
            switch self {
            case .reduceOverlapped: "overlapped reduction"
            case .reduceExposed: "reduction"
            case .replicaCheck: "replica check"
            default: "\(self)"
            }
        }
    }

    /// Words of the record; the host's name stands behind them.
    fileprivate enum Word: Int, CaseIterable {
        case magic, process, activity, step, sequence, signs, alive, sentBytes
    }

    fileprivate static let magic = 0x6c6f_636b_7374_6570
    fileprivate static let hostBytes = 64
    fileprivate static let bytes = 8 * Word.allCases.count + hostBytes

    private let words: UnsafeMutablePointer<Atomic<Int>>
    private let mapped: UnsafeMutableRawPointer
    /// Whether others can read the record, too.
    package let isShared: Bool

    /// Makes the file. Where that cannot be, the record is this process's own: losing telemetry never stops training.
    package init(path: String, host: String) {
        var record = [UInt8](repeating: 0, count: Self.bytes)
        record.replaceSubrange(
            (Self.bytes - Self.hostBytes)...,
            with: Array(host.utf8.prefix(Self.hostBytes))
                + Array(repeating: 0, count: max(0, Self.hostBytes - host.utf8.count)))
        let descriptor = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        // Written rather than only made long, as a store into a hole of a full disk is a bus error.
        let isWritten = descriptor >= 0 && write(descriptor, record, record.count) == record.count
        let shared = isWritten ? Self.map(descriptor, MAP_SHARED) : nil
        if descriptor >= 0 { close(descriptor) }
        isShared = shared != nil
        mapped = shared ?? .allocate(byteCount: Self.bytes, alignment: 64)
        if shared == nil { mapped.copyMemory(from: record, byteCount: Self.bytes) }
        words = mapped.bindMemory(to: Atomic<Int>.self, capacity: Word.allCases.count)
        for word in Word.allCases { (words + word.rawValue).initialize(to: Atomic(0)) }
        self[.process] = Int(getpid())
        self[.magic] = Self.magic
    }

    deinit {
        if isShared { munmap(mapped, Self.bytes) } else { mapped.deallocate() }
    }

    private static func map(_ descriptor: Int32, _ flags: Int32) -> UnsafeMutableRawPointer? {
        let address = mmap(nil, bytes, PROT_READ | PROT_WRITE, flags, descriptor, 0)
        return address == MAP_FAILED ? nil : address
    }

    private subscript(word: Word) -> Int {
        get { words[word.rawValue].load(ordering: .relaxed) }
        set { words[word.rawValue].store(newValue, ordering: .relaxed) }
    }

    /// Step `step` begins.
    package func begin(step: Int) { self[.step] = step }

    /// The rank has turned to `activity`. All ranks turn to the same activities in the same order.
    package func enter(_ activity: Activity) {
        self[.activity] = activity.rawValue
        self[.sequence] += 1
    }

    /// The rank is getting on within its activity.
    package func sign() { words[Word.signs.rawValue].add(1, ordering: .relaxed) }

    /// The rank has sent `bytes` more.
    package func add(sentBytes bytes: Int) { self[.sentBytes] += bytes }

    /// For the watchdog: this process gets time to run.
    package func liveOn() { self[.alive] += 1 }

    /// Hands the record to other hosts' systems, where the file lies on a shared disk.
    package func publish() {
        if isShared { msync(mapped, Self.bytes, MS_SYNC) }
    }

    /// What it says now.
    package var record: HeartbeatRecord {
        HeartbeatRecord(UnsafeRawBufferPointer(start: mapped, count: Self.bytes))!
    }
}

/// What a heartbeat said at one time.
package struct HeartbeatRecord: Sendable, Equatable {
    package var process: Int32
    package var activity: Heartbeat.Activity
    /// The step under way, or the last one; 0 before the first.
    package var step: Int
    /// Activities begun: the lowest is that of the rank that the others wait for.
    package var sequence: Int
    /// Signs of progress within activities.
    package var signs: Int
    /// Signs of life of the process.
    package var alive: Int
    package var sentBytes: Int
    package var host: String

    /// Reads the file that a `Heartbeat` keeps; nil when there is none.
    package init?(path: String) {
        // Opened anew every time, so that a network file system looks for what is new.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: Heartbeat.bytes)
        guard read(descriptor, &bytes, bytes.count) == bytes.count else { return nil }
        guard let record = bytes.withUnsafeBytes({ Self($0) }) else { return nil }
        self = record
    }

    fileprivate init?(_ bytes: UnsafeRawBufferPointer) {
        func word(_ word: Heartbeat.Word) -> Int {
            bytes.load(fromByteOffset: 8 * word.rawValue, as: Int.self)
        }
        guard word(.magic) == Heartbeat.magic, let activity = Heartbeat.Activity(rawValue: word(.activity))
        else { return nil }
        process = Int32(truncatingIfNeeded: word(.process))
        self.activity = activity
        step = word(.step)
        sequence = word(.sequence)
        signs = word(.signs)
        alive = word(.alive)
        sentBytes = word(.sentBytes)
        host = excerpt(String(decoding: bytes.suffix(Heartbeat.hostBytes).prefix { $0 != 0 }, as: UTF8.self))
    }

    package init(
        process: Int32 = 0, activity: Heartbeat.Activity, step: Int = 0, sequence: Int = 0, signs: Int = 0,
        alive: Int = 0, sentBytes: Int = 0, host: String = "host"
    ) {
        self.process = process
        self.activity = activity
        self.step = step
        self.sequence = sequence
        self.signs = signs
        self.alive = alive
        self.sentBytes = sentBytes
        self.host = host
    }
}
