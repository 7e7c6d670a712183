/// Numbers as people read them.
public enum Quantity {
    /// All digits, in groups of three: `124,439,808`.
    public static func grouped(_ number: Int) -> String {
        let digits = Array(String(number.magnitude))
        let groups = stride(from: digits.count % 3 - 3, to: digits.count, by: 3).map { start in
            String(digits[max(0, start)..<(start + 3)])
        }
        return (number < 0 ? "-" : "") + groups.filter { !$0.isEmpty }.joined(separator: ",")
    }

    /// Three significant digits in binary multiples: `41.4 MiB`.
    public static func bytes(_ count: Int) -> String {
        scaled(Double(count), by: 1024, units: ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
    }

    /// Three significant digits in decimal multiples: `36.5 GFLOP`.
    public static func flops(_ count: Int) -> String {
        scaled(
            Double(count), by: 1000, units: ["FLOP", "KFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP", "EFLOP"])
    }

    /// Three decimals: `1.250 s`.
    public static func seconds(_ seconds: Double) -> String {
        "\(fixed(seconds, decimals: 3)) s"
    }

    /// Three significant digits in decimal multiples: `10.0 G`.
    public static func short(_ number: Double) -> String {
        let text = scaled(number, by: 1000, units: ["", "k", "M", "G", "T", "P", "E"])
        guard number < 100, text.last == " " else { return text.last == " " ? String(text.dropLast()) : text }
        return fixed(number, decimals: number < 10 ? 2 : 1)
    }

    /// Three significant digits: `477 kWh`.
    public static func energy(kilowattHours: Double) -> String {
        scaled(1000 * kilowattHours, by: 1000, units: ["Wh", "kWh", "MWh", "GWh", "TWh"])
    }

    /// Of money: `2,014`, and `0.53` when it is little.
    public static func amount(_ number: Double) -> String {
        if number < 100 { return fixed(number, decimals: 2) }
        return number < 1e12 ? grouped(Int(number.rounded())) : short(number)
    }

    /// A share, rounded up: `55 %`.
    public static func percent(_ share: Double) -> String {
        "\(fixed((100 * share).rounded(.up), decimals: 0)) %"
    }

    /// Of a link, in bits: `10.0 Gbit/s`.
    public static func rate(_ bytesPerSecond: Double) -> String {
        scaled(8 * bytesPerSecond, by: 1000, units: ["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"])
    }

    /// Three significant digits in the unit that fits: `20.0 µs`, `1.25 s`, `3.40 h`, `5.20 days`.
    public static func duration(_ seconds: Double) -> String {
        let units: [(name: String, seconds: Double)] = [
            ("µs", 1e-6), ("ms", 1e-3), ("s", 1), ("min", 60), ("h", 3600), ("days", 86_400),
            ("years", 31_557_600),
        ]
        // Two of a unit are shown in it, not in the smaller one.
        let unit = units.last { seconds >= 0.9995 * $0.seconds * ($0.seconds >= 60 ? 2 : 1) } ?? units[0]
        let value = seconds / unit.seconds
        return "\(fixed(value, decimals: value < 9.995 ? 2 : value < 99.95 ? 1 : 0)) \(unit.name)"
    }

    private static func scaled(_ number: Double, by base: Double, units: [String]) -> String {
        var value = number
        var unit = 0
        // 999.5 would be shown as 1000; it is the next unit's 1.00 (decimal) or 0.98 (binary).
        while value.magnitude >= 999.5 && unit < units.count - 1 {
            value /= base
            unit += 1
        }
        if unit == 0 { return "\(fixed(value, decimals: 0)) \(units[0])" }
        let decimals = value.magnitude < 9.995 ? 2 : value.magnitude < 99.95 ? 1 : 0
        return "\(fixed(value, decimals: decimals)) \(units[unit])"
    }

    /// Rounded to a fixed number of decimals, with all of them shown; what is too large for that, or no number, as it is.
    private static func fixed(_ value: Double, decimals: Int) -> String {
        let power = [1.0, 10, 100, 1000][decimals]
        guard let rounded = Int(exactly: (value * power).rounded()) else { return "\(value)" }
        guard decimals > 0 else { return String(rounded) }
        let fraction = String(rounded.magnitude % UInt(power))
        let padding = String(repeating: "0", count: decimals - fraction.count)
        return "\(rounded < 0 ? "-" : "")\(rounded.magnitude / UInt(power)).\(padding)\(fraction)"
    }
}
