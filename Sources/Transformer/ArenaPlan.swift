/// Plans an arena before it is allocated: tensors are reserved one behind the other, and what is reserved within a
/// `scope` gives its place back at the end of it, so tensors of scopes that follow one another share memory.
public struct ArenaPlan: Sendable, Equatable {
    /// A tensor of the plan.
    public struct Tensor: Sendable, Equatable {
        public let name: String
        public let slot: Slot
    }

    public private(set) var tensors: [Tensor] = []
    /// Elements that the arena must have: the most that is alive at one time.
    public private(set) var count = 0
    private var end = 0

    public init() {}

    /// Takes `rows · columns` elements until the surrounding scope ends.
    public mutating func reserve(_ name: String, rows: Int, columns: Int) -> Slot {
        let slot = Slot(offset: end, rows: rows, columns: columns)
        tensors.append(Tensor(name: name, slot: slot))
        end += slot.count
        count = max(count, end)
        return slot
    }

    /// What `body` reserves is free again when it returns.
    public mutating func scope<Result>(_ body: (inout ArenaPlan) -> Result) -> Result {
        let start = end
        defer { end = start }
        return body(&self)
    }
}
