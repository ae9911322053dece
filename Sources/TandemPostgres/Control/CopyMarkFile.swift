import TandemCore
import TandemSystem

/// The file `pgtandem.copy` inside a data directory, which says whose copy it is (`protocol.md` section 1, "copy").
///
/// A base copy or pg_rewind brings the source's file along: whoever makes a copy removes or rewrites it before the first start.
public enum CopyMarkFile {
    public static let name = "pgtandem.copy"

    /// - Returns: nil if there is no such file.
    /// - Throws: if it cannot be read, or its text or checksum is wrong. A damaged mark is never guessed.
    public static func read(_ dataDirectory: String) throws(PostgresError) -> LocalPostgres.CopyMark? {
        guard let text = try words(dataDirectory) else { return nil }
        guard let mark = parse(text) else {
            throw PostgresError(
                attempted: "read \(dataDirectory)/\(name)", happened: "The text does not fit its checksum or its form.",
                meaning: "Whose copy this data directory is, is unknown.",
                advice: "Make a new copy of this data directory with `pgtandem join`; never write this file by hand.")
        }
        return mark
    }

    /// For whoever wants a certain mark, and takes anything else for its absence: pg_rewind that was killed leaves half of one.
    /// - Returns: nil if there is none, or a damaged one.
    /// - Throws: if the file cannot be read.
    static func readSound(_ dataDirectory: String) throws(PostgresError) -> LocalPostgres.CopyMark? {
        try words(dataDirectory).flatMap(parse)
    }

    private static func words(_ dataDirectory: String) throws(PostgresError) -> String? {
        let path = dataDirectory + "/" + name
        do throws(SystemError) {
            return try DurableFile.read(path, limit: 4096).map { String(decoding: $0, as: UTF8.self) }
        } catch {
            throw PostgresError("read \(path)", error, meaning: "Whose copy this data directory is, is unknown.")
        }
    }

    /// Throws unless the directory carries this mark now: between an order and its execution, somebody may have put another one in its place.
    public static func require(_ mark: LocalPostgres.CopyMark, _ dataDirectory: String) throws(PostgresError) {
        guard try read(dataDirectory) != mark else { return }
        throw PostgresError(
            attempted: "find the mark of copy \(mark.copy) in \(dataDirectory)",
            happened: "It is not the directory that this node was primary with: another one stands in its place.",
            meaning: "Nothing was started, and nothing of it was measured.", advice: "Put the right directory back.")
    }

    public static func write(
        _ mark: LocalPostgres.CopyMark, _ dataDirectory: String, osUser: String? = nil
    ) throws(PostgresError) {
        let path = dataDirectory + "/" + name
        do throws(SystemError) {
            try OwnedFiles(user: osUser).write(text(mark), to: path)
        } catch {
            throw PostgresError("write \(path)", error, meaning: "The data directory does not carry its copy id.")
        }
    }

    public static func remove(_ dataDirectory: String) throws(PostgresError) {
        let path = dataDirectory + "/" + name
        do throws(SystemError) {
            try DurableFile.remove(path)
        } catch {
            throw PostgresError("remove \(path)", error, meaning: "The data directory still carries another one's copy id.")
        }
    }

    static func text(_ mark: LocalPostgres.CopyMark) -> String {
        let facts = "pgtandem copy mark 1\ncopy \(mark.copy)\nnode \(mark.node)\n"
        // FNV-1a: against damage, not against forgery.
        let sum = facts.utf8.reduce(UInt64(0xCBF2_9CE4_8422_2325)) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
        return facts + "sum \(String(sum, radix: 16))\n"
    }

    static func parse(_ text: String) -> LocalPostgres.CopyMark? {
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        guard lines.count == 5, lines[1].hasPrefix("copy "), lines[2].hasPrefix("node "),
            let copy = CopyID(lines[1].dropFirst(5))
        else { return nil }
        let mark = LocalPostgres.CopyMark(copy: copy, node: NodeName(String(lines[2].dropFirst(5))))
        return self.text(mark) == text ? mark : nil
    }
}
