import Glibc
import Synchronization
import TandemSystem
import Testing

/// A folder of its own, gone with the last reference.
final class Folder: Sendable {
    let path: String

    init() throws {
        path = "/tmp/tandem-\(getpid())-\(String(Random.word(), radix: 36))"
        guard mkdir(path, 0o755) == 0 else { throw SystemError.last("make \(path)") }
    }

    deinit {
        do {
            _ = try shell("rm -rf '\(path)'")
        } catch {
            Issue.record("\(path) was left behind: \(error)")
        }
    }

    func names() throws -> [String] {
        try shell("ls -A '\(path)'").output.split(separator: "\n").map(String.init)
    }
}

@discardableResult
func shell(_ script: String, deadline: Duration = .seconds(20)) throws(SystemError) -> ToolResult {
    try Tool("/bin/sh", ["-c", script]).run(deadline: deadline)
}

/// A process that is not our child, ended when the last reference goes.
final class Stranger: Sendable {
    let pid: Int32
    private let started: UInt64

    /// - Parameter script: prints its number to standard output, as by `sleep 60 & echo $!`.
    init(_ script: String) throws {
        let output = try shell(script).output
        pid = try #require(Int32(output.split(separator: "\n").last ?? ""))
        started = try #require(ProcessTable.startTime(of: pid))
    }

    static func sleeping(in folder: String = "/") throws -> Stranger {
        try Stranger("cd '\(folder)'; sleep 60 >/dev/null 2>&1 & echo $!")
    }

    deinit {
        // The number may belong to another process by now.
        if ProcessTable.startTime(of: pid) == started { ProcessTable.signal(pid, SIGKILL) }
    }
}

/// Things seen by other threads, in order.
final class Seen<Element: Sendable>: Sendable {
    private let list = Mutex<[Element]>([])

    func add(_ element: Element) { list.withLock { $0.append(element) } }
    var all: [Element] { list.withLock { $0 } }
}

/// True when the fact holds within five seconds.
func soon(_ patience: Duration = .seconds(5), _ fact: () throws -> Bool) rethrows -> Bool {
    try SystemClock.wait(upTo: patience, step: .milliseconds(5), until: fact)
}
