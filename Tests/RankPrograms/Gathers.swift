import MessagePassing

func gather(_ world: borrowing Communicator) throws {
    try forEachGroup(world) { group in
        for length in lengths {
            for root in 0..<group.size {
                let mine: [Int32] = values(length, rank: group.rank)
                var all = [Int32](repeating: -1, count: length * group.size)
                try mine.withUnsafeBufferPointer { mine in
                    try all.withUnsafeMutableBufferPointer {
                        try group.gather(mine, into: group.rank == root ? $0 : nil, root: root)
                    }
                }
                let expected: [Int32] =
                    group.rank == root
                    ? (0..<group.size).flatMap { values(length, rank: $0) } : all.map { _ in -1 }
                try require(all, equals: expected, "gather at \(root)")
            }
        }
    }
}

/// Every rank has another length, one of them none at all.
func gatherv(_ world: borrowing Communicator) throws {
    try forEachGroup(world) { group in
        for root in 0..<group.size {
            let counts = (0..<group.size).map { ($0 * 5 + 3) % 8 }
            let mine: [Double] = values(counts[group.rank], rank: group.rank)
            var all = [Double](repeating: -1, count: counts.reduce(0, +))
            try mine.withUnsafeBufferPointer { mine in
                try all.withUnsafeMutableBufferPointer {
                    try group.gatherv(mine, counts: counts, into: group.rank == root ? $0 : nil, root: root)
                }
            }
            let expected: [Double] =
                group.rank == root
                ? (0..<group.size).flatMap { values(counts[$0], rank: $0) } : all.map { _ in -1 }
            try require(all, equals: expected, "gatherv at \(root)")
        }
    }
}

func allgather(_ world: borrowing Communicator) throws {
    try forEachGroup(world) { group in
        for length in lengths {
            let mine: [UInt8] = values(length, rank: group.rank)
            var all = [UInt8](repeating: 255, count: length * group.size)
            try mine.withUnsafeBufferPointer { mine in
                try all.withUnsafeMutableBufferPointer { try group.allgather(mine, into: $0) }
            }
            let expected = (0..<group.size).flatMap { rank -> [UInt8] in values(length, rank: rank) }
            try require(all, equals: expected, "allgather of \(length)")
        }
    }
}

func scatter(_ world: borrowing Communicator) throws {
    try forEachGroup(world) { group in
        for length in lengths {
            for root in 0..<group.size {
                let all = (0..<group.size).flatMap { rank -> [Int64] in values(length, rank: rank) }
                var mine = [Int64](repeating: -1, count: length)
                try all.withUnsafeBufferPointer { all in
                    try mine.withUnsafeMutableBufferPointer {
                        try group.scatter(group.rank == root ? all : nil, into: $0, root: root)
                    }
                }
                try require(mine, equals: values(length, rank: group.rank), "scatter from \(root)")
            }
        }
    }
}
