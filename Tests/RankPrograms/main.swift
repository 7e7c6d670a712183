import Configs
import Foundation
import MessagePassing

/// A small program that every rank runs. It checks its own results and throws when one is wrong.
typealias RankProgram = (borrowing Communicator) throws -> Void

/// The programs by name: `mpirun -n N rank-programs NAME`.
let programs: [String: RankProgram] = [
    "send-receive": sendAndReceive,
    "start-send-receive": startSendAndReceive,
    "separate-messages": separateMessages,

    "barrier": barrier,
    "broadcast": broadcast,
    "reduce": reduce,
    "allreduce": allreduce,
    "allreduce-in-place": allreduceInPlace,
    "ring-passes": ringPasses,

    "gather": gather,
    "gatherv": gatherv,
    "allgather": allgather,
    "scatter": scatter,

    "split": split,
    "duplicate": duplicate,
    "environment": environment,
    "alone": alone,
    "payload": payload,

    "chunked-messages": chunkedMessages,
    "chunked-collectives": chunkedCollectives,
    "above-int-count": aboveIntCount,

    "length-mismatch": lengthMismatch,
    "message-length-mismatch": messageLengthMismatch,
    "refused-by-mpi": refusedByMPI,
    "abandoned-request": abandonedRequest,
    "dropped-request": droppedRequest,
    "one-rank-throws": oneRankThrows,
    "one-rank-throws-in-group": oneRankThrowsInGroup,
    "collectively": agreements,
    "collectively-in-group": agreementInGroup,
    "collective-failure": collectiveFailure,
    "group-failure": groupFailure,

    "bucketed-collectives": bucketedCollectives,
    "uneven-hosts": unevenHosts,
    "sharded-steps": shardedSteps,
    "steady-step": steadyStepAllocatesNothing,
    "steady-products": steadyProductsAllocateNothing,
    "allocation-counter": allocationsAreCounted,
    "openblas-kernels": openBLASKernelsAreExchanged,

    "skipped-step": skippedStep,
    "loss-scale": lossScale,
    "high-loss-scale": highLossScale,
    "passed-over-samples": passedOverSamples,
    "replica-check": replicaCheck,
    "flipped-bit": flippedBit,
    "poisoned-byte": poisonedByte,
    "comparison": comparison,
    "endless-loop": endlessLoop,
    "two-interrupts": twoInterrupts,
]

guard let name = CommandLine.arguments.dropFirst().first, let program = programs[name] else {
    reportToStandardError(
        "usage: rank-programs NAME, one of \(programs.keys.sorted().joined(separator: ", "))")
    exit(64)
}

do {
    try withMPI(exitCode: {
        ($0 as? ProgramFailure)?.exitCode ?? ($0 as? LockstepError)?.status.rawValue ?? 70
    }) { try program($0) }
} catch let failure as CollectiveFailure {
    exit(failure.exitCode)
} catch {
    reportToStandardError("\(error)")
    exit(70)
}
