import Cost
import Foundation

/// Measured numbers as people read them; `Quantity` has those that are counted.
enum Figure {
    /// `decimals` digits after the point.
    static func fixed(_ value: Double, _ decimals: Int) -> String { String(format: "%.\(decimals)f", value) }

    /// Three significant digits: `12.3 ms`.
    static func duration(_ seconds: Double) -> String {
        let units: [(String, Double)] = [("s", 1), ("ms", 1e-3), ("µs", 1e-6)]
        let (name, unit) = units.first { abs(seconds) >= 0.9995 * $0.1 } ?? units[2]
        return significant(seconds / unit) + " " + name
    }

    /// Three significant digits, more before the point if need be: `0.12`, `1.23`, `12.3`, `1234`.
    static func significant(_ value: Double) -> String {
        fixed(value, abs(value) < 9.995 ? 2 : abs(value) < 99.95 ? 1 : 0)
    }

    /// With its sign: `+2.75 %`.
    static func percentage(_ share: Double) -> String {
        let text = significant(100 * share)
        if share != 0 && Double(text) == 0 { return share < 0 ? "-<0.01 %" : "+<0.01 %" }
        return (share > 0 ? "+" : "") + text + " %"
    }

    /// A share of a count to two decimals, rounded so that only all of them are 100 %: `99.98 %`.
    static func share(_ share: Double) -> String {
        fixed(share < 1 ? min(99.99, 100 * share) : 100, 2) + " %"
    }

    /// A tolerance: `±10 %`.
    static func tolerance(_ share: Double) -> String {
        let percent = 100 * share
        let text = String(format: "%.4g", percent)
        return "±\(text) %"
    }

    /// The time that is left: `45s`, `2m31s`, `1h05m`, `3d04h`.
    static func remaining(_ seconds: Double) -> String {
        guard seconds.isFinite, seconds >= 0, seconds < 1e9 else { return "?" }
        let total = Int(seconds.rounded())
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        if total < 60 { return "\(total)s" }
        if total < 3600 { return "\(total / 60)m\(two(total % 60))s" }
        if total < 86_400 { return "\(total / 3600)h\(two(total % 3600 / 60))m" }
        return "\(total / 86_400)d\(two(total % 86_400 / 3600))h"
    }

    /// A number that is a whole one if it can be shown as such, with all its digits: `43,376,640`.
    static func exact(_ value: Double) -> String {
        guard value == value.rounded(), abs(value) <= 0x1p53 else { return "\(value)" }
        return Quantity.grouped(Int(value))
    }

    /// Scaled to a unit that people read: `41.4 MiB`, `12.3 ms`, `36.5 GFLOP`.
    static func scaled(_ value: Double, unit: String) -> String {
        switch unit {
        case "s": return duration(value)
        case "B" where abs(value) <= 0x1p53: return Quantity.bytes(Int(value))
        case "FLOP" where abs(value) <= 0x1p53: return Quantity.flops(Int(value))
        default: return exact(value)
        }
    }
}
