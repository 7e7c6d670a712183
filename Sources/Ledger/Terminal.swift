import Foundation

/// What a text stream can show.
public struct Terminal: Sendable, Equatable {
    /// Whether a line can be drawn over again.
    public var isLive: Bool
    /// Characters that fit a line.
    public var columns: Int
    public var hasColor: Bool

    public init(isLive: Bool, columns: Int = 80, hasColor: Bool = false) {
        self.isLive = isLive
        self.columns = columns
        self.hasColor = hasColor
    }

    /// Looks at the stream behind `descriptor`, and at `NO_COLOR` and `TERM`.
    ///
    /// Ranks write their errors through a pipe of `mpirun`, so they cannot see the terminal behind it: a launcher that
    /// has one tells its width by `LOCKSTEP_TERMINAL_COLUMNS`.
    public init(
        descriptor: Int32, environment: [String: String] = ProcessInfo.processInfo.environment
    ) {
        let columnsBehindPipe = environment["LOCKSTEP_TERMINAL_COLUMNS"].flatMap { Int($0) } ?? 0
        let announced = descriptor == STDERR_FILENO ? columnsBehindPipe : 0
        let isTerminal = isatty(descriptor) == 1 || announced > 0
        isLive = isTerminal && environment["TERM"] != "dumb"
        var size = winsize()
        let isKnown = ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0
        columns = isKnown ? Int(size.ws_col) : announced > 0 ? announced : 80
        hasColor = isLive && (environment["NO_COLOR"] ?? "").isEmpty
    }

    enum Style: String {
        case bold = "1"
        case faint = "2"
        case red = "31"
        case green = "32"
    }

    /// `text` in a style, as far as the terminal has any.
    func styled(_ text: String, _ style: Style) -> String {
        hasColor ? "\u{1B}[\(style.rawValue)m\(text)\u{1B}[0m" : text
    }
}
