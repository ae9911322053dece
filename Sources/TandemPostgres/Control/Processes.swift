import Foundation
import Glibc
import Synchronization
import TandemSystem

/// A postmaster, named for ever: pids are used again, a pid with its start time is not.
public struct Postmaster: Hashable, Sendable {
    public var pid: Int32
    public var startTime: UInt64
}

/// What `postmaster.pid` says (PostgreSQL's miscadmin.h, "LOCK_FILE_LINE"). It may be of a dead server.
struct PostmasterFile: Equatable, Sendable {
    enum Status: String, Sendable {
        case starting, stopping, ready, standby
    }

    var pid: Int32
    /// Whose lock file it is (those of sockets name it too).
    var directory: String?
    /// The last line; absent until the sockets are open.
    var status: Status?

    init?(_ bytes: [UInt8]) {
        let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
        // A negative number is a single-user server.
        guard let first = lines.first, let pid = Int32(first.trimmed()), pid != 0 else { return nil }
        self.pid = abs(pid)
        directory = lines.count > 1 ? String(lines[1]) : nil
        status = lines.count > 7 ? Status(rawValue: lines[7].trimmed()) : nil
    }

    static func read(_ settings: InstanceSettings) throws(SystemError) -> PostmasterFile? {
        guard let bytes = try DurableFile.read(settings.inData("postmaster.pid")) else { return nil }
        return PostmasterFile(bytes)
    }
}

/// The processes of one data directory: what `/proc` shows, nothing that a file merely says.
final class InstanceProcesses: Sendable {
    private let given: String
    private let found: Mutex<String?>

    init(_ dataDirectory: String) {
        given = dataDirectory
        found = Mutex(ProcessTable.resolved(dataDirectory))
    }

    /// The data directory without symbolic links; resolved once, since a dead disk would hang at it. One that does not
    /// exist yet is looked for again.
    private var directory: String {
        found.withLock { found in
            if found == nil { found = ProcessTable.resolved(given) }
            return found ?? given
        }
    }

    /// PostgreSQL's processes that live in the directory. A person's shell that stands in it is none of them; a process
    /// whose program cannot be told is counted: it may be one.
    ///
    /// A server whose directory is renamed, or whose file system is taken away (`umount -l`), goes on in it: those that stand where the last
    /// postmaster stood belong to the instance whatever that place is called now. Once nobody stands there, the place means nothing: what is
    /// started there later, after a rejoin has moved it aside, is somebody else's.
    func all() -> [Int32] {
        let known = Self.known.withLock { $0[given] }
        var elsewhere: [Int32] = []
        let here = ProcessTable.processes(
            ofResolvedDirectory: directory, others: { if known != nil, Self.isServer($0) == true { elsewhere.append($0) } }
        ).filter { Self.isServer($0) ?? true }
        guard let known else { return here }
        // What does not answer in that time is another cluster's file system, so this one's are told by name alone.
        let strays = ProcessTable.standing(at: known.place, of: elsewhere, upTo: .seconds(1))
        if here.isEmpty, strays == [] {
            Self.known.withLock { if $0[given] == known { $0[given] = nil } }
        }
        return (here + (strays ?? [])).sorted()
    }

    /// nil: its program cannot be told.
    private static func isServer(_ pid: Int32) -> Bool? {
        guard let program = link("/proc/\(pid)/exe") else { return nil }
        // An upgrade replaces the file under a running server.
        let name = program.replacingSuffix(" (deleted)").split(separator: "/").last ?? ""
        return name == "postgres" || name == "postmaster"
    }

    struct Known: Hashable, Sendable {
        var postmaster: Postmaster
        var place: FilePlace
    }

    /// The last postmaster of each data directory that this program has met. Whoever watches an instance and whoever ends it mean the same.
    static let known = Mutex<[String: Known]>([:])

    /// That postmaster, if it lives and is none that `postmaster.pid` can tell of any more.
    func lastKnown() -> Postmaster? {
        Self.known.withLock { $0[given]?.postmaster }.flatMap { isAlive($0) ? $0 : nil }
    }

    /// The postmaster that `postmaster.pid` names, if that process lives in this directory; nil otherwise.
    func postmaster(_ settings: InstanceSettings) throws(SystemError) -> Postmaster? {
        guard let file = try PostmasterFile.read(settings) else { return nil }
        guard let startTime = ProcessTable.startTime(of: file.pid), all().contains(file.pid) else { return nil }
        let postmaster = Postmaster(pid: file.pid, startTime: startTime)
        if Self.known.withLock({ $0[given]?.postmaster }) != postmaster, let place = ProcessTable.place(of: file.pid) {
            let known = Known(postmaster: postmaster, place: place)
            Self.known.withLock { $0[given] = known }
            PlaceNote(settings).write(known)
        }
        return postmaster
    }

    func isAlive(_ postmaster: Postmaster) -> Bool {
        ProcessTable.startTime(of: postmaster.pid) == postmaster.startTime
    }

    /// The title of the process that recovers, as `startup recovering 000000010000000000000003`; nil if there is none.
    func recoveryProgress() -> String? {
        for pid in all() {
            do throws(SystemError) {
                guard let bytes = try DurableFile.read("/proc/\(pid)/cmdline", limit: 65536) else { continue }
                let title = String(decoding: bytes.map { $0 == 0 ? 32 : $0 }, as: UTF8.self)
                guard let place = title.range(of: "startup ") else { continue }
                return title[place.lowerBound...].trimmed()
            } catch {
                // It ended between two looks.
                continue
            }
        }
        return nil
    }

    static func link(_ path: String) -> String? {
        var text = [CChar](repeating: 0, count: 4096)
        let count = readlink(path, &text, text.count)
        guard count > 0 else { return nil }
        return String(decoding: text.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

extension String {
    func replacingSuffix(_ suffix: String) -> String {
        hasSuffix(suffix) ? String(dropLast(suffix.count)) : self
    }
}
