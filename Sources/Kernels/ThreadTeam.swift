import CTiles
import Glibc
import Synchronization

/// The threads of a rank: the one that made the team and T − 1 workers that live as long as it. They split a kernel's
/// rows, columns or elements among them, each always the same share.
///
/// Kernels belong to the thread that made the team, one at a time. Splitting a kernel allocates nothing as long as the
/// closure captures nothing: what it needs comes as its first argument. Who waits for others looks for `patience`, and
/// then sleeps.
public final class ThreadTeam: @unchecked Sendable {
    /// Members of the team, T.
    public let count: Int
    private let shared: Shared
    private var workers: [pthread_t] = []
    /// The CPUs of the thread that made the team, as they were before each member got its own: for threads beside it.
    public let affinity: Affinity
    private var isPinned = false

    /// A team of the calling thread only.
    public static let alone = ThreadTeam()

    private init() {
        count = 1
        affinity = .current
        shared = Shared(patience: .zero)
    }

    /// Starts `threads` − 1 workers. When this thread may run on exactly `threads` CPUs, each member gets one of its own:
    /// left to the system, two of them may share one for a whole run. Throws `ThreadError`.
    public init(threads: Int) throws(ThreadError) {
        precondition(threads >= 1, "a team cannot have \(threads) threads")
        count = threads
        affinity = .current
        let cpus = affinity.count == threads ? affinity.cpus : []
        // Who looks for work takes the CPU of who does it when there are too few.
        shared = Shared(patience: threads <= affinity.count ? Self.patience : .zero)
        guard threads > 1 else { return }
        for member in 1..<threads {
            let start = Start(shared: shared, member: member, cpu: cpus.isEmpty ? nil : cpus[member])
            var thread = pthread_t()
            let code = pthread_create(
                &thread, nil,
                { argument in
                    let start = Unmanaged<Start>.fromOpaque(argument!).takeRetainedValue()
                    if let cpu = start.cpu { Affinity(cpu: cpu).apply() }
                    start.shared.work(as: start.member)
                    return nil
                }, Unmanaged.passRetained(start).toOpaque())
            guard code == 0 else {
                Unmanaged.passUnretained(start).release()
                throw ThreadError(threads: threads, reason: String(cString: strerror(code)))
            }
            workers.append(thread)
        }
        guard let first = cpus.first else { return }
        isPinned = true
        Affinity(cpu: first).apply()
    }

    deinit {
        shared.stop()
        for worker in workers { pthread_join(worker, nil) }
        if isPinned { affinity.apply() }
    }

    /// How long a member looks before it sleeps, as in Intel's OpenMP (`KMP_BLOCKTIME`): longer than any wait of a pass.
    /// A virtual CPU that sleeps is given to others by its host; with 50 µs, steps of two threads took up to a fifth longer.
    private static let patience = Duration.milliseconds(200)

    /// Calls `body(context, range, member)` for the `share` of every member that has one, all at once; member 0 is the
    /// calling thread. Returns when all are done.
    public func split<Context>(
        _ count: Int, grain: Int = 1, _ context: Context,
        _ body: @escaping (Context, Range<Int>, _ member: Int) -> Void
    ) {
        let shares = Shares(count: count, grain: grain, members: self.count)
        guard shares.parts > 1 else {
            if count > 0 { body(context, 0..<count, 0) }
            return
        }
        run(Split(context: context, shares: shares, body: body))
    }

    /// What `split` gives `member` of 0 ..< `count`: cut at the multiples of `grain` that are nearest to equal shares, none
    /// shorter than `grain` unless it is the only one. Empty where there are too few for all members.
    public func share(of count: Int, grain: Int = 1, for member: Int) -> Range<Int> {
        Shares(count: count, grain: grain, members: self.count)[member]
    }

    /// Σ `term(context, range)` over ranges that cover 0 ..< `count` and depend on it and `grain` alone, not on the number
    /// of threads, added in ascending order.
    func sum<Context, Term>(
        _ count: Int, grain: Int, zero: Term, _ context: Context,
        adding: (inout Term, Term) -> Void, _ term: @escaping (Context, Range<Int>) -> Term
    ) -> Term {
        let parts = min(Self.mostParts, (count + grain - 1) / grain)
        guard parts > 0 else { return zero }
        let step = (count + parts * grain - 1) / (parts * grain) * grain
        return withUnsafeTemporaryAllocation(of: Term.self, capacity: parts) { terms in
            terms.initialize(repeating: zero)
            run(
                Summation(
                    context: context, count: count, step: step, terms: terms, members: self.count, term: term)
            )
            var sum = zero
            for term in terms { adding(&sum, term) }
            return sum
        }
    }

    private func run<Work: TeamWork>(_ work: Work) {
        withUnsafePointer(to: work) { shared.run(Work.self, $0, workers: count - 1) }
    }

    /// Enough to keep as many threads busy.
    private static let mostParts = 64
}

/// A thread that the system refused.
public struct ThreadError: Error, CustomStringConvertible {
    let threads: Int
    let reason: String
    public var description: String {
        "cannot start \(threads) threads: \(reason); lower parallel.threads_per_rank or raise the limit (ulimit -u)"
    }
}

/// What all members do, each for itself. A closure that captured its operands would be allocated.
private protocol TeamWork {
    func run(as member: Int)
}

extension TeamWork {
    /// The same of the value at `address`.
    static func run(at address: UnsafeRawPointer, as member: Int) {
        address.assumingMemoryBound(to: Self.self).pointee.run(as: member)
    }
}

private struct Split<Context>: TeamWork {
    let context: Context
    let shares: Shares
    let body: (Context, Range<Int>, Int) -> Void

    func run(as member: Int) {
        guard member < shares.parts else { return }
        body(context, shares[member], member)
    }
}

/// 0 ..< `count` shared out in grains.
private struct Shares {
    let count: Int
    let grain: Int
    /// Whole grains of `count`; the last takes the rest.
    private let grains: Int
    /// Members that have a share.
    let parts: Int

    init(count: Int, grain: Int, members: Int) {
        (self.count, self.grain) = (count, grain)
        grains = count / grain
        parts = min(members, max(1, grains))
    }

    subscript(part: Int) -> Range<Int> { start(of: part)..<start(of: part + 1) }

    private func start(of part: Int) -> Int {
        guard part > 0 else { return 0 }
        guard part < parts else { return count }
        let nearest = (2 * count * part + parts * grain) / (2 * parts * grain)
        // Those behind need a grain each.
        return min(nearest, grains - (parts - part)) * grain
    }
}

private struct Summation<Context, Term>: TeamWork {
    let context: Context
    let count: Int
    let step: Int
    let terms: UnsafeMutableBufferPointer<Term>
    let members: Int
    let term: (Context, Range<Int>) -> Term

    func run(as member: Int) {
        for part in terms.count * member / members..<terms.count * (member + 1) / members
        where part * step < count {
            terms[part] = term(context, part * step..<min((part + 1) * step, count))
        }
    }
}

/// What a worker is started with.
private final class Start {
    let shared: Shared
    let member: Int
    let cpu: Int?

    init(shared: Shared, member: Int, cpu: Int?) {
        self.shared = shared
        self.member = member
        self.cpu = cpu
    }
}

/// What the members of a team have in common; it outlives the last of them.
private final class Shared: @unchecked Sendable {
    /// Written before `started` grows, read after that was seen.
    private var work: (type: any TeamWork.Type, address: UnsafeRawPointer)?
    private var isStopped = false
    /// Pieces of work started so far; workers that are not done with the last one.
    private let started = Atomic<Int>(0)
    private let running = Atomic<Int>(0)
    private let startedChanged = Signal()
    private let runningChanged = Signal()
    private let patience: Duration

    init(patience: Duration) { self.patience = patience }

    func run(_ type: any TeamWork.Type, _ address: UnsafeRawPointer, workers: Int) {
        guard workers > 0 else { return type.run(at: address, as: 0) }
        work = (type, address)
        running.store(workers, ordering: .relaxed)
        start()
        type.run(at: address, as: 0)
        runningChanged.wait(patience: patience) { running.load(ordering: .sequentiallyConsistent) == 0 }
    }

    func stop() {
        isStopped = true
        start()
    }

    private func start() {
        started.add(1, ordering: .sequentiallyConsistent)
        startedChanged.send()
    }

    /// A worker's life.
    func work(as member: Int) {
        var seen = 0
        while true {
            startedChanged.wait(patience: patience) {
                started.load(ordering: .sequentiallyConsistent) != seen
            }
            seen += 1
            guard !isStopped, let work else { return }
            work.type.run(at: work.address, as: member)
            if running.subtract(1, ordering: .sequentiallyConsistent).newValue == 0 { runningChanged.send() }
        }
    }
}

/// Wakes threads that wait for a condition on sequentially consistent atomics.
private final class Signal {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private let sleepers = Atomic<Int>(0)

    init() {
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(condition, nil)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    /// Returns when `isMet`: looks for `patience`, then sleeps.
    func wait(patience: Duration, _ isMet: () -> Bool) {
        if patience > .zero {
            if look(isMet) { return }
            let end = ContinuousClock.now + patience
            while ContinuousClock.now < end {
                // Another rank may have work for this CPU.
                sched_yield()
                if look(isMet) { return }
            }
        }
        if isMet() { return }
        pthread_mutex_lock(mutex)
        // Who makes the condition true and sees no sleeper did so before this, and is seen here.
        sleepers.add(1, ordering: .sequentiallyConsistent)
        while !isMet() { pthread_cond_wait(condition, mutex) }
        sleepers.subtract(1, ordering: .sequentiallyConsistent)
        pthread_mutex_unlock(mutex)
    }

    /// Looks for some microseconds whether the condition `isMet`.
    private func look(_ isMet: () -> Bool) -> Bool {
        for _ in 0..<256 {
            if isMet() { return true }
            lockstep_pause()
        }
        return false
    }

    /// To be called when a condition has become true.
    func send() {
        guard sleepers.load(ordering: .sequentiallyConsistent) > 0 else { return }
        pthread_mutex_lock(mutex)
        pthread_cond_broadcast(condition)
        pthread_mutex_unlock(mutex)
    }
}
