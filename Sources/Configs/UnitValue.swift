/// A number that is written with its unit, such as `256GiB`.
public protocol UnitValue: Sendable, Equatable {
    /// Spellings of units and their sizes in the unit of `number`, by ascending size; the first of a size is written.
    static var units: [(name: String, size: Double)] { get }
    /// What a user has to write, as in "must be a size such as 256GiB".
    static var expectation: String { get }
    /// In the unit whose size is 1.
    var number: Double { get }
    init(_ number: Double)
}

extension UnitValue {
    /// - Parameter text: a number of at least zero and a unit, with or without a space between. Nil when it is anything else.
    public init?(parsing text: String) {
        let digits = text.prefix { "0123456789.".contains($0) }
        let unit = text[digits.endIndex...].drop { $0 == " " }
        guard let size = Self.units.first(where: { $0.name == unit })?.size, let count = Double(digits),
            (count * size).isFinite
        else { return nil }
        self.init(count * size)
    }

    init?(_ tree: ConfigTree) {
        guard let text = tree.plainText else { return nil }
        self.init(parsing: text)
    }

    /// With the largest unit that leaves at least 1.
    var yaml: String {
        let unit = Self.units.last { $0.size <= number } ?? Self.units[0]
        let name = Self.units.first { $0.size == unit.size }?.name ?? unit.name
        let count = number / unit.size
        return (count == count.rounded() && count < 1e15 ? String(Int(count)) : String(count)) + name
    }
}

/// Bytes.
public struct ByteSize: UnitValue, ConfigValue {
    public let number: Double
    public init(_ number: Double) { self.number = number }

    public static var units: [(name: String, size: Double)] {
        [
            ("B", 1), ("kB", 1e3), ("KB", 1e3), ("KiB", 0x1p10), ("MB", 1e6), ("MiB", 0x1p20), ("GB", 1e9),
            ("GiB", 0x1p30), ("TB", 1e12), ("TiB", 0x1p40),
        ]
    }
    public static var expectation: String { "a size such as 256GiB or 64GB" }
}

/// Bytes per second.
public struct TransferRate: UnitValue, ConfigValue {
    public let number: Double
    public init(_ number: Double) { self.number = number }

    public static var units: [(name: String, size: Double)] {
        [
            ("B/s", 1), ("kbit", 125), ("Kbit", 125), ("kB/s", 1e3), ("mbit", 125e3), ("Mbit", 125e3),
            ("Mbit/s", 125e3), ("MB/s", 1e6), ("gbit", 125e6), ("Gbit", 125e6), ("Gbit/s", 125e6),
            ("GB/s", 1e9),
        ]
    }
    public static var expectation: String { "a rate such as 10gbit, 100mbit or 1.25GB/s" }
}

/// Seconds.
public struct TimeSpan: UnitValue, ConfigValue {
    public let number: Double
    public init(_ number: Double) { self.number = number }

    public static var units: [(name: String, size: Double)] {
        [
            ("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1), ("min", 60), ("h", 3600),
            ("d", 86_400),
        ]
    }
    public static var expectation: String { "a time such as 20us, 1.5ms, 90min, 12h or 7d" }
}
