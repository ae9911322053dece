import CLinux
import Glibc
import Synchronization
import TandemSystem

/// A named network namespace, as `ip netns` makes them.
struct NetworkNamespace: Sendable {
    let name: String

    static let directory = "/run/netns"

    var path: String { "\(NetworkNamespace.directory)/\(name)" }

    /// Made anew, with loopback up and the settings of a plain host: IPv6 on, no duplicate address detection (it would
    /// keep addresses tentative for a second), no forwarding.
    func create(ipv6: Bool = true) throws(LabError) {
        try Command.run(try Command.path("ip", package: "iproute2"), ["netns", "add", name])
        let settings: [(String, String)] =
            ipv6
            ? [("all", "accept_dad"), ("default", "accept_dad"), ("all", "disable_ipv6"), ("default", "disable_ipv6")]
                .map { ("/proc/sys/net/ipv6/conf/\($0.0)/\($0.1)", "0") }
            : ["all", "default"].map { ("/proc/sys/net/ipv6/conf/\($0)/disable_ipv6", "1") }
        try inside { () throws(LabError) in
            for (path, value) in settings { try Text.overwrite(path, value) }
            try Text.overwrite("/proc/sys/net/ipv4/ip_forward", "0")
        }
        try ip(["link set lo up"])
    }

    /// Lines for `ip -batch`, run inside.
    func ip(_ lines: [String]) throws(LabError) {
        let ip = try Command.path("ip", package: "iproute2")
        try Command.run(ip, ["-n", name, "-batch", "-"], input: lines.joined(separator: "\n") + "\n")
    }

    /// Absent is fine.
    func delete() throws(LabError) {
        guard access(path, F_OK) == 0 else { return }
        do throws(LabError) {
            try Command.run(try Command.path("ip", package: "iproute2"), ["netns", "delete", name])
        } catch {
            // Two labs that start at the same time both remove what a third one left.
            if access(path, F_OK) == 0 { throw error }
        }
    }

    /// A descriptor of the namespace, for setns(2).
    func open() throws(LabError) -> Descriptor {
        let number = Glibc.open(path, O_RDONLY | O_CLOEXEC)
        guard number >= 0 else { throw LabError(SystemError.last("open the network namespace \(name)")) }
        return Descriptor(number)
    }

    /// Runs the body in a thread of its own that has entered the namespace: setns(2) with CLONE_NEWNET concerns one
    /// thread only, and the thread ends afterwards. Sockets made in the body stay in the namespace for ever.
    func inside<Value: Sendable>(
        _ body: @escaping @Sendable () throws(LabError) -> Value
    ) throws(LabError) -> Value {
        let descriptor = try open()
        let outcome = Outcome<Value>(try asLabError { () throws(SystemError) in try Bell() })
        let name = name
        try asLabError { () throws(SystemError) in
            try OwnThread.start("lab-netns") {
                outcome.set {
                    () throws(LabError) in
                    guard clab_enter_network(descriptor.number) == 0 else {
                        throw LabError(SystemError.last("enter the network namespace \(name)"))
                    }
                    return try body()
                }
            }
        }
        return try outcome.get()
    }

    private final class Outcome<Value: Sendable>: Sendable {
        private let value = Mutex<Result<Value, LabError>?>(nil)
        private let bell: Bell

        init(_ bell: Bell) { self.bell = bell }

        func set(_ body: () throws(LabError) -> Value) {
            let result: Result<Value, LabError>
            do throws(LabError) { result = .success(try body()) } catch { result = .failure(error) }
            value.withLock { $0 = result }
            bell.ring()
        }

        func get() throws(LabError) -> Value {
            bell.wait(upTo: .seconds(30))
            guard let result = value.withLock({ $0 }) else {
                throw LabError(attempted: "work inside a network namespace", happened: "no result within 30 s")
            }
            return try result.get()
        }
    }
}
