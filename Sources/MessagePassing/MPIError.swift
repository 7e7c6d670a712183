internal import CMPI

/// A nonzero return of an MPI call.
public struct MPIError: Error, Sendable, CustomStringConvertible {
    /// The MPI error code.
    public let code: Int32
    /// The library's words for it.
    public let text: String
    /// The MPI function that returned it.
    public let call: String

    public var description: String { "\(call) failed with MPI error \(code): \(text)" }

    init(code: Int32, text: String, call: String) {
        self.code = code
        self.text = text
        self.call = call
    }

    init(code: Int32, call: StaticString) {
        let text = librarySays(capacity: Int(MPI_MAX_ERROR_STRING)) { MPI_Error_string(code, $0, &$1) }
        self.init(code: code, text: text ?? "an error without a text", call: "\(call)")
    }
}

/// A buffer whose length does not fit the operation it was handed to.
public struct LengthMismatch: Error, Sendable, CustomStringConvertible {
    /// The operation.
    public let call: String
    /// Which of its buffers.
    public let role: String
    /// The length that the other arguments, or the other end, ask for, in elements.
    public let expected: Int
    /// The length found, in elements.
    public let actual: Int

    public var description: String {
        "\(call): \(role) has \(actual) elements where \(expected) are expected"
    }

    init(call: StaticString, role: String, expected: Int, actual: Int) {
        self.call = "\(call)"
        self.role = role
        self.expected = expected
        self.actual = actual
    }
}

/// Throws what a call returned unless that is success.
func check(_ code: Int32, _ call: StaticString) throws {
    if code != MPI_SUCCESS { throw MPIError(code: code, call: call) }
}

/// Throws when a buffer of `actual` elements stands where `expected` are needed.
func checkLength(_ actual: Int, expected: Int, of role: @autoclosure () -> String, in call: StaticString)
    throws
{
    if actual != expected {
        throw LengthMismatch(call: call, role: role(), expected: expected, actual: actual)
    }
}

/// The text that an MPI query writes into a buffer of `capacity` bytes and measures; nil when it fails.
func librarySays(
    capacity: Int, _ query: (UnsafeMutablePointer<CChar>, inout Int32) -> Int32
) -> String? {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: capacity + 1) { buffer in
        var length: Int32 = 0
        guard let base = buffer.baseAddress, query(base, &length) == MPI_SUCCESS else { return nil }
        // Open MPI counts the terminating zero in its version, and not in its other texts.
        let bytes = buffer.prefix(Int(length)).prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        return String(decoding: bytes, as: UTF8.self)
    }
}
