/// A line of a table: a label, and a cell for each column.
struct Row {
    let label: String
    let cells: [String]

    init(_ label: String, _ cells: [String]) {
        self.label = label
        self.cells = cells
    }
}

/// Labels flush left, cells flush right, every column as wide as its widest cell.
func layout(_ rows: [Row], columns: Int) -> String {
    let labelWidth = rows.map(\.label.count).max() ?? 0
    let widths = (0..<columns).map { column in
        rows.map { column < $0.cells.count ? $0.cells[column].count : 0 }.max() ?? 0
    }
    return rows.map { row in
        let label = row.label + String(repeating: " ", count: labelWidth - row.label.count)
        let cells = zip(row.cells, widths).map { "   " + padded($0, to: $1) }
        let line = label + cells.joined()
        return String(
            line[..<(line.lastIndex { $0 != " " }.map { line.index(after: $0) } ?? line.startIndex)])
    }.joined(separator: "\n")
}

func padded(_ text: String, to width: Int) -> String {
    String(repeating: " ", count: max(0, width - text.count)) + text
}

func counted(_ count: Int, _ noun: String) -> String {
    "\(Quantity.grouped(count)) \(noun)\(count == 1 ? "" : "s")"
}
