import CLinux
import Glibc
import Synchronization
import TandemSystem
import Testing

/// Two network namespaces joined by a cable: `eth0` in each, 192.0.2.1 and 2001:db8::1 in the left one, .2 and ::2 in the
/// right one. Gone with the last reference.
final class TwoHosts: Sendable {
    let left: Namespace
    let right: Namespace

    init() throws {
        left = try Namespace()
        right = try Namespace()
        try TwoHosts.ip(
            "link", "add", "eth0", "netns", left.name, "type", "veth", "peer", "name", "eth0", "netns", right.name)
        for (namespace, number) in [(left, "1"), (right, "2")] {
            try namespace.ip("addr", "add", "192.0.2.\(number)/24", "dev", "eth0")
            try namespace.ip("-6", "addr", "add", "2001:db8::\(number)/64", "dev", "eth0", "nodad")
            try namespace.ip("link", "set", "lo", "up")
            try namespace.ip("link", "set", "eth0", "up")
        }
        // The kernel makes a new link ready by itself, a little later; IPv6 drops everything until then.
        for namespace in [left, right] {
            let ready = try soon { try namespace.ip("-6", "addr", "show", "dev", "eth0", "-tentative").contains("fe80") }
            guard ready else { throw Failure(text: "the link of \(namespace.name) was not ready within 5 s") }
        }
    }

    @discardableResult
    static func ip(_ arguments: String...) throws -> String { try run("/usr/sbin/ip", arguments) }

    /// What the right host knows of an address: the card and the state, or an empty text.
    func neighbour(_ address: String) throws -> String { try right.ip("neigh", "show", address) }

    static func run(_ path: String, _ arguments: [String]) throws -> String {
        let result = try Tool(path, arguments).run(deadline: .seconds(10))
        guard result.succeeded else { throw Failure(text: "\(path) \(arguments): \(result.errors)") }
        return result.output
    }
}

struct Failure: Error, CustomStringConvertible {
    var text: String
    var description: String { text }
}

/// A network namespace with a name of its own.
final class Namespace: Sendable {
    let name: String

    init() throws {
        name = "t\(getpid())-\(String(Random.word() % 1_000_000_000, radix: 36))"
        try TwoHosts.ip("netns", "add", name)
        // No second of waiting for duplicate detection in every test.
        try shell("echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad")
    }

    deinit {
        do {
            try TwoHosts.ip("netns", "del", name)
        } catch {
            Issue.record("a namespace was left behind: \(error)")
        }
    }

    @discardableResult
    func ip(_ arguments: String...) throws -> String {
        try TwoHosts.run("/usr/sbin/ip", ["-n", name] + arguments)
    }

    /// Runs the body in a thread that is inside the namespace: sockets and threads that it makes belong there.
    func inside<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) throws -> Value {
        let outcome = Outcome<Value>()
        let done = try Bell()
        let path = "/run/netns/\(name)"
        try OwnThread.start("in \(name)") {
            let number = open(path, O_RDONLY | O_CLOEXEC)
            if number >= 0, cl_setns(number, 0) == 0 {
                outcome.value.withLock { $0 = Result { try body() } }
            } else {
                let error = SystemError.last("enter \(path)")
                outcome.value.withLock { $0 = .failure(error) }
            }
            if number >= 0 { close(number) }
            done.ring()
        }
        guard done.wait(upTo: .seconds(30)) else { throw Failure(text: "the body did not end in 30 s") }
        guard let result = outcome.value.withLock({ $0 }) else { throw Failure(text: "no result") }
        return try result.get()
    }

    @discardableResult
    func shell(_ script: String) throws -> String {
        try TwoHosts.run("/usr/sbin/ip", ["netns", "exec", name, "/bin/sh", "-c", script])
    }

    func mac() throws -> String {
        let text = try ip("-br", "link", "show", "dev", "eth0")
        return text.split(separator: " ").map(String.init).first { $0.contains(":") } ?? ""
    }

    /// Every address of the interface, as "192.0.2.1/24".
    func addresses() throws -> [String] {
        try ip("-br", "addr", "show", "dev", "eth0").split(whereSeparator: { " \n".contains($0) }).map(String.init)
    }

    private final class Outcome<Value: Sendable>: Sendable {
        let value = Mutex<Result<Value, any Error>?>(nil)
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
