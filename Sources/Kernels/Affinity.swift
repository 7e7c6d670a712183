import CTiles

/// The CPUs that this thread, and threads that it starts, may run on.
public struct Affinity: Sendable {
    private var mask: [UInt8]

    private init(byte: UInt8) { mask = Array(repeating: byte, count: LOCKSTEP_AFFINITY_BYTES) }

    /// One CPU.
    init(cpu: Int) {
        self.init(byte: 0)
        mask[cpu / 8] = 1 << UInt8(cpu % 8)
    }

    /// Those of the calling thread now.
    public static var current: Affinity {
        var affinity = Affinity(byte: 0)
        _ = lockstep_get_affinity(&affinity.mask)
        return affinity
    }

    /// Every CPU that the system lets this process use, whatever its launcher bound it to.
    public static let widest = Affinity(byte: 0xFF)

    /// CPUs that the system lets this process use, bound or not.
    public static var online: Int {
        let bound = current
        widest.apply()
        defer { bound.apply() }
        return current.count
    }

    public var count: Int { mask.reduce(0) { $0 + $1.nonzeroBitCount } }

    /// Lets the calling thread run on these CPUs.
    public func apply() { _ = lockstep_set_affinity(mask) }

    /// The numbers of the CPUs, ascending.
    var cpus: [Int] {
        mask.indices.flatMap { byte in (0..<8).filter { mask[byte] >> $0 & 1 == 1 }.map { 8 * byte + $0 } }
    }
}
