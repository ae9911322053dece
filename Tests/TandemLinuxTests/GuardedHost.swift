import CLinux
import Glibc
import Synchronization
import TandemSystem
import Testing

@testable import TandemLinux

/// A network namespace with two addresses on its loopback, a folder with something like a PostgreSQL instance in it, and guards of it:
/// real processes, ended with the last reference.
final class GuardedHost: Sendable {
    let namespace: Namespace
    let folder: String
    let scope: GuardScope
    var data: String { folder + "/data" }
    var boardPath: String { folder + "/guard" }

    /// The program under test: given by PGTANDEM_BINARY, or the one built beside the tests.
    static let binary: String = {
        if let given = getenv("PGTANDEM_BINARY") { return String(cString: given) }
        let own = ProcessTable.resolved("/proc/self/exe") ?? ""
        return own.split(separator: "/").dropLast().map { "/" + $0 }.joined() + "/pgtandem"
    }()
    static let canRun = geteuid() == 0 && access(binary, X_OK) == 0

    init(margin: Duration = .milliseconds(100)) throws {
        namespace = try Namespace()
        try namespace.ip("link", "set", "lo", "up")
        // In memory, as /run is: a board on a busy disk would be late.
        folder = "/dev/shm/guard-\(getpid())-\(String(Random.word(), radix: 36))"
        let made = try Tool("/bin/sh", ["-c", "mkdir -p '\(folder)/data' && chmod 755 '\(folder)'"]).run(deadline: .seconds(5))
        guard made.succeeded else { throw Failure(text: made.errors) }
        let addresses = ["192.0.2.7", "2001:db8::7"].compactMap { VirtualAddress($0) }
        scope = GuardScope(dataDirectory: folder + "/data", interface: "lo", addresses: addresses, margin: margin)
    }

    deinit {
        do {
            for pid in ProcessTable.processes(ofDirectory: data) { ProcessTable.signal(pid, SIGKILL) }
            _ = try Tool("/bin/rm", ["-rf", folder]).run(deadline: .seconds(5))
            // Last: one that is just being started finds no folder, and ends.
            for pid in guards() { ProcessTable.signal(pid, SIGKILL) }
        } catch {
            Issue.record("\(folder) was left behind: \(error)")
        }
    }

    func takeAddresses() throws {
        try namespace.ip("addr", "add", "192.0.2.7/32", "dev", "lo")
        try namespace.ip("addr", "add", "2001:db8::7/128", "dev", "lo", "nodad")
    }

    func heldAddresses() throws -> Int {
        try namespace.ip("-br", "addr", "show", "dev", "lo").split { " \n".contains($0) }
            .count { ["192.0.2.7/32", "2001:db8::7/128"].contains($0) }
    }

    /// A parent and children that ignore SIGTERM, as far from the guard as a server: no children of ours.
    func startInstance(children: Int = 20) throws {
        let child = "(trap '' TERM INT; exec tail -f /dev/null) &"
        let parent = "trap '' TERM INT; for n in $(seq \(children)); do \(child) done; wait"
        let script = "cd '\(data)'; setsid /bin/sh -c \"\(parent.replacing("$", with: "\\$"))\" >/dev/null 2>&1 & echo"
        let result = try Tool("/bin/sh", ["-c", script]).run(deadline: .seconds(5))
        let isUp = soon { instance().count == children + 1 }
        guard isUp else { throw Failure(text: "no instance: \(result.errors)") }
    }

    func instance() -> [Int32] { ProcessTable.processes(ofDirectory: data) }

    /// Every guard of this host's board, spares too.
    func guards() -> [Int32] {
        var found: [Int32] = []
        guard let all = opendir("/proc") else { return [] }
        defer { closedir(all) }
        while let entry = readdir(all) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
            guard let pid = Int32(name), pid != getpid() else { continue }
            do {
                let line = try DurableFile.read("/proc/\(pid)/cmdline") ?? []
                let words = line.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
                if words.contains(boardPath), ProcessTable.startTime(of: pid) != nil { found.append(pid) }
            } catch {
                continue
            }
        }
        return found.sorted()
    }

    /// Starts a guard as the service manager does, and waits until it has introduced itself, or stands by.
    /// - Parameter prefix: what runs before it in the shell's line, such as `exec setpriv …`.
    @discardableResult
    func startGuard(_ scope: GuardScope? = nil, more: [String] = [], prefix: String = "", errors: String = "/dev/null") throws
        -> Int32
    {
        let before = guards()
        let arguments =
            GuardLaunch.arguments(scope ?? self.scope, boardPath: boardPath).filter { $0 != "--by-agent" }.dropFirst() + more
        let line = "\(prefix) \(Self.binary) " + arguments.map { "'\($0)'" }.joined(separator: " ")
        let script = "/usr/sbin/ip netns exec \(namespace.name) \(line) </dev/null >/dev/null 2>\(errors) & echo"
        _ = try Tool("/bin/sh", ["-c", script]).run(deadline: .seconds(5))
        var new: Int32?
        let isReady = soon {
            new = guards().first { pid in !before.contains(pid) && (isAtWork(pid) || isSpare(pid)) }
            return new != nil
        }
        guard isReady, let new else { throw Failure(text: "no guard came: \(guards()), before: \(before)") }
        return new
    }

    private func isAtWork(_ pid: Int32) -> Bool {
        do {
            // Else it would be ours, which a guard of another user cannot open.
            guard access(boardPath, F_OK) == 0 else { return false }
            return try board().guardian?.pid == pid
        } catch {
            return false
        }
    }

    /// It waits for the lock ("1: -> FLOCK ADVISORY WRITE 4711 …").
    func isSpare(_ pid: Int32) -> Bool {
        do {
            let text = String(decoding: try DurableFile.read("/proc/locks") ?? [], as: UTF8.self)
            return text.split(separator: "\n").contains { line in
                let words = line.split(separator: " ")
                return words.count > 5 && words[1] == "->" && words[5] == "\(pid)"
            }
        } catch {
            return false
        }
    }

    func client(
        scope: GuardScope? = nil, ended: Seen<String> = Seen(), spawn: (@Sendable (String?) throws -> Void)? = nil
    ) throws -> GuardClient {
        let (boardPath, scope) = (boardPath, scope ?? self.scope)
        return try namespace.inside {
            try GuardClient(
                boardPath: boardPath, scope: scope,
                spawn: spawn ?? { old in
                    try GuardLaunch.start(
                        GuardLaunch.arguments(scope, boardPath: boardPath, replacing: old), program: GuardedHost.binary)
                }, onEnded: { ended.add($0) })
        }
    }

    /// Arms in the namespace, as a guard that is started belongs to that of the calling thread.
    /// - Parameter tries: a core tries again, too, while no guard has come up.
    func arm(_ client: GuardClient, _ until: GuardDeadline?, tries: Int = 4) throws {
        try namespace.inside {
            // As an agent's is; the tests' own load would make it late.
            _ = RealTime.raise()
            for left in (0..<tries).reversed() {
                do {
                    return try client.arm(until: until)
                } catch  where left > 0 {
                    continue
                }
            }
        }
    }

    /// When nobody heard of the instance any more, by the guard's own clock: this process may be late itself on a busy host. Nil: it is
    /// still there.
    func silence(_ client: GuardClient, _ deadline: GuardDeadline? = nil) -> Int64? {
        let isGone = soon {
            guard let act = client.status.lastAct, act.duration != nil, deadline == nil || act.deadline == deadline else {
                return false
            }
            return instance().isEmpty
        }
        guard isGone, let act = client.status.lastAct, let silenced = act.silenced else { return nil }
        return act.begun + silenced.nanoseconds
    }

    func board() throws -> GuardBoard { try GuardBoard(path: boardPath) }

    /// Nothing of the instance ends for this long.
    func staysUntouched(_ span: Duration) -> Bool {
        let before = instance()
        return !before.isEmpty && !SystemClock.wait(upTo: span, step: .milliseconds(5)) { instance() != before }
    }
}
