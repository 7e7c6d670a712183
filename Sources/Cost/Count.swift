import Configs

/// A count that remembers having overflowed, so that a formula can be written as it is printed and checked once.
struct Count: ExpressibleByIntegerLiteral {
    private var value: Int
    private var hasOverflowed = false

    init(_ value: Int) {
        self.value = value
    }

    init(integerLiteral value: Int) {
        self.init(value)
    }

    static func + (a: Count, b: Count) -> Count {
        combine(a, b) { $0.addingReportingOverflow($1) }
    }

    static func * (a: Count, b: Count) -> Count {
        combine(a, b) { $0.multipliedReportingOverflow(by: $1) }
    }

    static func max(_ first: Count, _ others: Count...) -> Count {
        others.reduce(first) { a, b in combine(a, b) { (Swift.max($0, $1), false) } }
    }

    static func min(_ a: Count, _ b: Count) -> Count {
        combine(a, b) { (Swift.min($0, $1), false) }
    }

    /// Whether it is known to be more than `limit`.
    func exceeds(_ limit: Int) -> Bool { !hasOverflowed && value > limit }

    /// The number, if it fits.
    func exact(_ meaning: String) throws -> Int {
        guard !hasOverflowed else {
            throw LockstepError(
                .badConfiguration,
                "the \(meaning) cannot be counted in 64 bits; check the sizes in model and train.global_batch"
            )
        }
        return value
    }

    private static func combine(
        _ a: Count, _ b: Count, _ operation: (Int, Int) -> (partialValue: Int, overflow: Bool)
    ) -> Count {
        let (value, overflow) = operation(a.value, b.value)
        var result = Count(value)
        result.hasOverflowed = overflow || a.hasOverflowed || b.hasOverflowed
        return result
    }
}
