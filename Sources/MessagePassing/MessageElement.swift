internal import CMPI

/// The element types that messages carry, each with its MPI datatype.
public enum ElementType: UInt8, Sendable {
    case float, double, int32, int64, uint8

    var datatype: MPI_Datatype {
        switch self {
        case .float: lockstep_mpi_float()
        case .double: lockstep_mpi_double()
        case .int32: lockstep_mpi_int32()
        case .int64: lockstep_mpi_int64()
        case .uint8: lockstep_mpi_uint8()
        }
    }

    /// Bytes of an element.
    var size: Int {
        switch self {
        case .float, .int32: 4
        case .double, .int64: 8
        case .uint8: 1
        }
    }
}

/// A type whose values travel in messages, in the machine's own representation.
public protocol MessageElement: BitwiseCopyable {
    static var elementType: ElementType { get }
}

extension Float: MessageElement { public static var elementType: ElementType { .float } }
extension Double: MessageElement { public static var elementType: ElementType { .double } }
extension Int32: MessageElement { public static var elementType: ElementType { .int32 } }
extension Int64: MessageElement { public static var elementType: ElementType { .int64 } }
extension UInt8: MessageElement { public static var elementType: ElementType { .uint8 } }

/// How the ranks' elements at the same index become one.
public enum ReduceOperation: Sendable {
    case sum, min, max

    var handle: MPI_Op {
        switch self {
        case .sum: lockstep_mpi_sum()
        case .min: lockstep_mpi_min()
        case .max: lockstep_mpi_max()
        }
    }
}

/// A run of elements with its type as a value: the generic entry points turn their buffers into this, and
/// everything below them is plain code.
struct Elements {
    let base: UnsafeMutableRawPointer?
    let count: Int
    let type: ElementType

    init(base: UnsafeMutableRawPointer?, count: Int, type: ElementType) {
        self.base = base
        self.count = count
        self.type = type
    }

    init<Element: MessageElement>(_ buffer: UnsafeMutableBufferPointer<Element>) {
        self.init(
            base: UnsafeMutableRawPointer(buffer.baseAddress), count: buffer.count, type: Element.elementType)
    }

    /// Elements that MPI only reads: its C interface takes them as pointers to const.
    init<Element: MessageElement>(reading buffer: UnsafeBufferPointer<Element>) {
        self.init(UnsafeMutableBufferPointer(mutating: buffer))
    }

    var bytes: Int { count * type.size }

    /// Address of the element at `offset`.
    func address(_ offset: Int) -> UnsafeMutableRawPointer? { base.map { $0 + offset * type.size } }

    /// The `count` elements from `offset` on.
    func slice(_ offset: Int, _ count: Int) -> Elements {
        Elements(base: address(offset), count: count, type: type)
    }

    /// Copies elements that are already on this rank.
    func copy(from other: Elements) {
        if let base, let source = other.base { base.copyMemory(from: source, byteCount: other.bytes) }
    }
}
