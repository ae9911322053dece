import TandemCore
import TandemSystem

/// The mark of a rewind that was begun, in the state directory: PostgreSQL has none of its own, and a half-rewound directory may
/// even start (`hazards.md` 0.1, 5). Written durably before the first byte, removed after the copy mark.
struct RejoinIntent: Hashable, Sendable {
    enum Phase: String {
        /// The server runs without a source, only to replay its own log; the directory is sound.
        case recovering
        /// pg_rewind said before any change that it cannot do it; the directory is sound.
        case refused
        /// From here on the directory is garbage until the new mark stands in it.
        case rewinding
    }

    var phase: Phase
    /// The data directory, without symbolic links.
    var target: String
    /// Of the directory that results.
    var copy: CopyID
    /// One line for a person.
    var words: String

    static func path(_ settings: InstanceSettings) -> String { settings.stateDirectory + "/rewind-in-progress" }

    private var text: String { "\(phase.rawValue)\ntarget \(target)\ncopy \(copy)\nwords \(words)\nend\n" }

    enum Found {
        case none
        case intent(RejoinIntent)
        /// Written by us, unreadable: then nothing good can be concluded.
        case damaged
    }

    static func read(_ settings: InstanceSettings) throws(PostgresError) -> Found {
        let path = path(settings)
        let bytes = try SetupTool.perform("read \(path)") { () throws(SystemError) in try DurableFile.read(path) }
        guard let bytes else { return .none }
        let text = String(decoding: bytes, as: UTF8.self)
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        guard lines.count == 6, let phase = Phase(rawValue: String(lines[0])), lines[1].hasPrefix("target "),
            lines[2].hasPrefix("copy "), let copy = CopyID(lines[2].dropFirst(5)), lines[3].hasPrefix("words ")
        else { return .damaged }
        let intent = RejoinIntent(
            phase: phase, target: String(lines[1].dropFirst(7)), copy: copy, words: String(lines[3].dropFirst(6)))
        return intent.text == text ? .intent(intent) : .damaged
    }

    func write(_ settings: InstanceSettings) throws(PostgresError) {
        var oneLine = self
        oneLine.words = String(words.map { $0.isNewline ? " " : $0 })
        let path = RejoinIntent.path(settings)
        let text = oneLine.text
        try SetupTool.perform("write \(path)") { () throws(SystemError) in
            try OwnedFiles(user: settings.osUser).write(text, to: path)
        }
    }

    static func remove(_ settings: InstanceSettings) throws(PostgresError) {
        let path = path(settings)
        try SetupTool.perform("remove \(path)") { () throws(SystemError) in try DurableFile.remove(path) }
    }
}

extension Rejoin {
    /// Why this directory must not be started: a rewind was begun in it and not finished. nil: none was. Cheap; looks only.
    public static func unfinishedRewind(_ settings: InstanceSettings) throws(PostgresError) -> String? {
        switch try RejoinIntent.read(settings) {
        case .none: return nil
        case .damaged: return "\(RejoinIntent.path(settings)) is damaged"
        case .intent(let intent):
            guard intent.phase == .rewinding else { return nil }
            let here = ProcessTable.resolved(settings.dataDirectory) ?? settings.dataDirectory
            // It is about another directory, or about one that was moved aside since.
            guard intent.target == here else { return nil }
            // Only the removal of the intent was missing. A torn mark came with pg_rewind, from the source.
            if try CopyMarkFile.readSound(settings.dataDirectory)?.copy == intent.copy { return nil }
            return "\(intent.words), noted in \(RejoinIntent.path(settings))"
        }
    }
}
