/// A small text for a file that is never guessed at: one line that says what it is, one line of content, one line with its checksum.
public enum CheckedText {
    /// What is wrong with the bytes.
    public struct Damage: Error, Sendable, CustomStringConvertible {
        public var description: String
    }

    /// - Parameter body: one line.
    public static func bytes(heading: String, body: String) -> [UInt8] { Array("\(heading)\n\(body)\n\(checksum(body))\n".utf8) }

    /// The content.
    public static func body(of bytes: [UInt8], heading: String) throws(Damage) -> String {
        guard let text = String(validating: bytes, as: UTF8.self) else { throw Damage(description: "it is not text") }
        guard !bytes.isEmpty else { throw Damage(description: "it is empty") }
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        guard lines.count == 4, lines[3].isEmpty else {
            throw Damage(description: "it has \(lines.count - 1) lines instead of 3")
        }
        guard lines[0] == heading else { throw Damage(description: "its first line is not `\(heading)`") }
        guard lines[2] == checksum(lines[1]) else { throw Damage(description: "its checksum does not fit its content") }
        return String(lines[1])
    }

    /// FNV-1a, 64 bits: against torn and edited files, not against an enemy, who would have the key of the link too.
    static func checksum(_ text: some StringProtocol) -> String {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        let digits = String(hash, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
