import Configs
import Foundation

/// What a command answers, on standard output.
enum StandardOutput {
    /// Writes all of `text` at once, so that an error is found here and not at exit.
    static func write(_ text: String) throws { _ = try write(Array(text.utf8)) }

    /// Writes `bytes`. Returns whether somebody may still be reading: `lockstep … | head` is no mistake.
    ///
    /// Throws `.inputOutput` when they cannot be written, for example because a disk is full.
    static func write(_ bytes: some ContiguousBytes & Collection) throws -> Bool {
        try bytes.withUnsafeBytes { bytes in
            var done = 0
            while done < bytes.count {
                let count = Foundation.write(
                    STDOUT_FILENO, bytes.baseAddress! + done, bytes.count - done)
                if count < 0 && errno == EINTR { continue }
                if count < 0 && errno == EPIPE { return false }
                guard count > 0 else {
                    throw LockstepError(
                        .inputOutput, "standard output cannot be written: \(String(cString: strerror(errno)))"
                    )
                }
                done += count
            }
            return true
        }
    }

    /// Prepares the three standard streams of the process.
    ///
    /// A reader that leaves, and a limit on the size of files, are errors of `write` and not the end of the process:
    /// training goes on when a terminal is closed. And where a stream is closed from the start, its number is taken, for otherwise the first file that is
    /// opened would get the number and with it whatever is meant for the stream.
    static func prepareStreams() {
        signal(SIGPIPE, SIG_IGN)
        signal(SIGXFSZ, SIG_IGN)
        while true {
            let descriptor = open("/dev/null", O_RDWR)
            guard (0...STDERR_FILENO).contains(descriptor) else {
                close(descriptor)
                return
            }
        }
    }
}
