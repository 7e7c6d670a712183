import Foundation
import Ledger
import MessagePassing
import Training

/// Rank 1 never comes out of its forward pass, and the others wait for it. Takes a folder for the run.
func endlessLoop(_ world: borrowing Communicator) throws {
    let path = CommandLine.arguments[2]
    if world.rank == 0 { _ = try NewRunDirectory(path: path).keep() }
    try world.barrier()
    let run = try RunDirectory(existing: path)
    let heartbeat = Heartbeat(path: run.heartbeat(rank: world.rank), host: "here")
    let watchdog = Watchdog(
        rank: world.rank, ranks: world.size, run: run, heartbeat: heartbeat, timeout: 2)
    heartbeat.begin(step: 7)
    heartbeat.enter(.forward)
    while world.rank == 1, heartbeat.record.step == 7 {}
    heartbeat.enter(.wait)
    try world.barrier()
    watchdog.stop()
}

/// The first interrupt is a request, the second ends the process.
func twoInterrupts(_ world: borrowing Communicator) throws {
    StopSignals.install()
    raise(SIGINT)
    try require(StopSignals.pending, equals: SIGINT, "the request")
    raise(SIGINT)
    throw ProgramFailure(description: "a second interrupt was survived")
}
