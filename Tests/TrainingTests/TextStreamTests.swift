import Testing
import Training

/// A text on its way to a reader, byte by byte.
@Suite struct TextStreamTests {
    /// What is shown after each byte, and what at the end.
    private func pieces(_ text: [UInt8], stops: [String] = []) -> [[UInt8]] {
        var stream = TextStream(stops: stops)
        var shown: [[UInt8]] = []
        for byte in text {
            let (piece, isStopped) = stream.add([byte])
            shown.append(piece)
            if isStopped { return shown }
        }
        return shown + [stream.finish()]
    }

    @Test func charactersAreShownWhole() {
        #expect(pieces(Array("aé€🙂".utf8)).map(\.count) == [1, 0, 2, 0, 0, 3, 0, 0, 0, 4, 0])
        // What is no character is not waited for, and the half of one is shown at the end.
        #expect(pieces([0xFF, 0x80, 0xE2, 0x82]) == [[0xFF], [0x80], [], [], [0xE2, 0x82]])
    }

    @Test func aTextEndsBeforeTheFirstStop() {
        #expect(pieces(Array("one. two".utf8), stops: ["xyz", ". "]).joined().elementsEqual("one".utf8))
        #expect(pieces(Array("aab".utf8), stops: ["ab"]).joined().elementsEqual("a".utf8))
        #expect(pieces(Array("end.".utf8), stops: [". "]).joined().elementsEqual("end.".utf8))
        var stream = TextStream(stops: ["ll"])
        let (text, isStopped) = stream.add(Array("hello".utf8))
        #expect(text.elementsEqual("he".utf8) && isStopped)
    }
}
