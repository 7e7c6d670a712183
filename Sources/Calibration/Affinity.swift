import CTiles

/// The CPUs that this thread, and threads that it starts, may run on.
struct Affinity {
    private var mask: [UInt8]

    private init(byte: UInt8) { mask = Array(repeating: byte, count: LOCKSTEP_AFFINITY_BYTES) }

    /// Those of the calling thread now.
    static var current: Affinity {
        var affinity = Affinity(byte: 0)
        _ = lockstep_get_affinity(&affinity.mask)
        return affinity
    }

    /// Every CPU that the system lets this process use, whatever its launcher bound it to.
    static let widest = Affinity(byte: 0xFF)

    /// CPUs that the system lets this process use, bound or not.
    static var online: Int {
        let bound = current
        widest.apply()
        defer { bound.apply() }
        return current.count
    }

    var count: Int { mask.reduce(0) { $0 + $1.nonzeroBitCount } }

    /// Lets the calling thread run on these CPUs.
    func apply() { _ = lockstep_set_affinity(mask) }
}
