import Foundation
import Ledger
import Testing

@Suite struct PhaseClockTests {
    @Test func phasesAddUpAndSleepIsCounted() {
        var clock = PhaseClock()
        clock.begin()
        clock.enter(.forward)
        usleep(5_000)
        clock.enter(.backward)
        usleep(2_000)
        clock.enter(.reduceExposed)
        clock.enter(.backward)
        usleep(2_000)
        clock.enter(.forward)
        usleep(5_000)
        let seconds = clock.finish()
        #expect(seconds.forward >= 0.010)
        #expect(seconds.backward >= 0.004)
        #expect(seconds.data == 0)
        #expect(seconds.optimizer == 0)
        let sum = seconds.forward + seconds.backward + seconds.reduceExposed
        #expect(sum <= seconds.total + 1e-12)
    }

    @Test func timeOutsideOfPhasesBelongsToTheTotalAlone() {
        var clock = PhaseClock()
        clock.begin()
        usleep(2_000)
        clock.enter(.optimizer)
        clock.enter(nil)
        usleep(2_000)
        let seconds = clock.finish()
        #expect(seconds.total >= seconds.optimizer + 0.004)
    }

    @Test func everyStepStartsAtZero() {
        var clock = PhaseClock()
        clock.begin()
        clock.enter(.data)
        usleep(1_000)
        let first = clock.finish()
        clock.begin()
        let second = clock.finish()
        #expect(first.data >= 0.001)
        #expect(second.data == 0)
    }
}

@Suite struct MemoryMeterTests {
    private func reading(_ status: String) -> MemoryMeter.Reading? {
        Array(status.utf8).withUnsafeBytes { MemoryMeter.Reading(status: $0) }
    }

    @Test func readsTheKernelsText() {
        let status = """
            Name:\tlockstep VmRSS: 1 kB
            VmPeak:\t 2000000 kB
            VmHWM:\t  812344 kB
            VmRSS:\t  712344 kB
            RssAnon:\t  612000 kB
            RssFile:\t  100000 kB
            RssShmem:\t     344 kB
            VmData:\t 1 kB
            """
        let expected = MemoryMeter.Reading(
            resident: 712_344 << 10, peak: 812_344 << 10, anonymous: 612_000 << 10, file: 100_000 << 10,
            shared: 344 << 10)
        #expect(reading(status) == expected)
    }

    @Test(arguments: [
        "", "VmRSS:", "VmRSS:\t kB\nVmHWM:\t 1 kB", "VmHWM: 12 kB\n",
        "VmRSS: 99999999999999999999999 kB\nVmHWM: 1 kB",
    ])
    func textWithoutTheFiguresIsNoReading(_ status: String) {
        #expect(reading(status) == nil)
    }

    #if os(Linux)
        /// Other tests, which run at the same time, can give back more than is touched here, but not every time.
        @Test func memoryThatIsTouchedBecomesResident() throws {
            let meter = MemoryMeter()
            // The kernel's counters lag by some pages a thread.
            let (size, slack) = (64 << 20, 16 << 20)
            func grows() throws -> Bool {
                let first = meter.read()
                let before = try #require(first)
                #expect(before.peak >= before.resident)
                let block = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 4096)
                memset(block, 1, size)
                let second = meter.read()
                let proportional = meter.hostShare()
                block.deallocate()
                let during = try #require(second)
                let share = try #require(proportional)
                #expect(share.own >= size - slack && share.files > 0)
                #expect(during.anonymous + during.file + during.shared <= during.resident + slack)
                return during.anonymous >= before.anonymous + size - slack
                    && during.peak >= before.resident + size - slack
            }
            let hasGrown = try (0..<50).contains { _ in try grows() }
            #expect(hasGrown)
        }
    #endif
}
