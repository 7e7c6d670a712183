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

    /// Rounded to a fixed number of decimals, with all of them shown.
    private static func fixed(_ value: Double, decimals: Int) -> String {
        let power = [1.0, 10, 100, 1000][decimals]
        let rounded = Int((value * power).rounded())
        guard decimals > 0 else { return String(rounded) }
        let fraction = String(rounded.magnitude % UInt(power))
        let padding = String(repeating: "0", count: decimals - fraction.count)
        return "\(rounded < 0 ? "-" : "")\(rounded.magnitude / UInt(power)).\(padding)\(fraction)"
    }
}
