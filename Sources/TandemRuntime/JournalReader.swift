import Glibc
import TandemCore
import TandemSystem
import TandemWire

/// What stands in a journal, line by line. Numbers of lines begin with 1, as editors count.
enum JournalRecord: Sendable {
    case header(JournalHeader, line: Int)
    case event(JournalEvent, line: Int)
    /// Whatever follows up to the next header cannot be replayed: that part is skipped. The text says what is wrong.
    case damaged(line: Int, String)
    /// The last line has no end: its writer is at it, or ended in the middle of it.
    case torn(line: Int)
}

/// Reads one file of a journal from its beginning.
public struct JournalReader: Sendable {
    public let path: String
    /// The version of the program that began this file.
    public let program: String
    private let bytes: [UInt8]
    private var position: Int
    private var line = 0
    private var memory = JournalMemory()
    /// Between a damaged line and the next header.
    private var skips = false

    /// - Parameter program: of this program, for the advice in errors.
    public init(_ path: String, program: String) throws(JournalError) {
        let content: [UInt8]?
        do {
            if try FileFacts.of(path)?.kind == .directory { throw JournalError.folder(path) }
            content = try DurableFile.read(path, limit: 1 << 30)
        } catch let error as JournalError {
            throw error
        } catch {
            throw .unreadable(path, "\(error)", isForbidden: (error as? SystemError)?.code == EACCES)
        }
        guard let content else { throw .absent(path) }
        guard !content.isEmpty else { throw .empty(path) }
        let first = content.prefix { $0 != UInt8(ascii: "\n") }
        guard first.starts(with: JournalHeader.beginning) else { throw .notAJournal(path) }
        guard first.count < content.count else { throw .empty(path) }
        let origin: JournalHeader.Origin
        do {
            origin = try JSON.decode(JournalHeader.Origin.self, from: first)
        } catch {
            throw .notAJournal(path)
        }
        guard origin.journal == JournalFormat.number else {
            throw .otherFormat(path, format: origin.journal, writer: origin.program, reader: program)
        }
        do {
            _ = try JSON.decode(JournalHeader.self, from: first)
        } catch {
            throw .otherState(path, writer: origin.program, reader: program, reason: "\(error)")
        }
        self.path = path
        self.program = origin.program
        bytes = content
        position = 0
    }

    /// nil: that was all.
    mutating func next() -> JournalRecord? {
        while position < bytes.count {
            line += 1
            guard let end = endOfLine() else {
                position = bytes.count
                return .torn(line: line)
            }
            let text = bytes[position..<end]
            position = end + 1
            let isHeader = text.starts(with: JournalHeader.beginning)
            if skips, !isHeader { continue }
            do {
                if isHeader {
                    memory = JournalMemory()
                    let header = try JSON.decode(JournalHeader.self, from: text)
                    skips = false
                    return .header(header, line: line)
                }
                return .event(try JournalEvent(text, &memory), line: line)
            } catch {
                skips = true
                return .damaged(line: line, "\(error)")
            }
        }
        return nil
    }

    private func endOfLine() -> Int? {
        bytes.withUnsafeBytes { bytes in
            let rest = bytes[position...]
            guard let start = UnsafeRawBufferPointer(rebasing: rest).baseAddress, let found = memchr(start, 10, rest.count) else {
                return nil
            }
            return position + start.distance(to: UnsafeRawPointer(found))
        }
    }
}

/// Why a file cannot be replayed, and what to do.
public enum JournalError: Error, Sendable, CustomStringConvertible {
    case absent(String)
    case empty(String)
    case folder(String)
    case unreadable(String, String, isForbidden: Bool)
    case notAJournal(String)
    case otherFormat(String, format: Int, writer: String, reader: String)
    /// The state at its beginning is not what this version calls one.
    case otherState(String, writer: String, reader: String, reason: String)

    public var description: String {
        switch self {
        case .absent(let path):
            "there is no file \(path). The agent keeps its journal in the folder `journal` of its `state_directory`: \(JournalFile.current), and "
                + "what was before it in \(JournalFile.previous)"
        case .empty(let path): "\(path) holds nothing yet: no event has been written since the file was made"
        case .folder(let path):
            "\(path) is a folder: name a file in it, \(path)/\(JournalFile.current) (the newest), or \(path)/\(JournalFile.previous) (what was "
                + "before it)"
        case .unreadable(let path, let reason, let isForbidden):
            "\(path) cannot be read: \(reason)\(isForbidden ? " Run this as root, or as the user that the agent runs as." : "")"
        case .notAJournal(let path):
            "\(path) is no journal of pgtandem: its first line does not begin with `\(String(decoding: JournalHeader.beginning, as: UTF8.self))`. "
                + "Name a file of the folder `journal` in the agent's `state_directory`"
        case .otherFormat(let path, let format, let writer, let reader):
            "\(path) has the format \(format), this pgtandem \(reader) reads format \(JournalFormat.number): replay it with the version that wrote "
                + "it, pgtandem \(writer)"
        case .otherState(let path, let writer, let reader, let reason):
            "the state at the beginning of \(path) is not one that this pgtandem \(reader) knows: replay it with the very program that wrote it, "
                + "pgtandem \(writer). (\(reason))"
        }
    }
}
