import CLinux
import Glibc
import TandemSystem

/// Tells when an address or the link of an interface changes, whoever changed it (rtnetlink's groups).
public final class AddressWatch: Sendable {
    private let stopping: Bell

    /// - Parameter onChange: called in a thread of its own after every change on that interface, several at once told
    ///   once; also when the kernel dropped messages. It says that something changed, not what: read the table again.
    public init(interface: String, onChange: @escaping @Sendable () -> Void) throws(SystemError) {
        stopping = try Bell()
        let listener = try Listener(interface: interface, stopping: stopping, onChange: onChange)
        try OwnThread.start("addresses") { listener.run() }
    }

    deinit { stopping.ring() }

    /// No call begins later than a moment after it returned.
    public func stop() {
        stopping.ring()
    }
}

private final class Listener: Sendable {
    private let interface: String
    private let stopping: Bell
    private let onChange: @Sendable () -> Void
    private let first: NetlinkSocket

    private static let groups = Int32(RTMGRP_LINK) | Int32(RTMGRP_IPV4_IFADDR) | Int32(RTMGRP_IPV6_IFADDR)

    init(interface: String, stopping: Bell, onChange: @escaping @Sendable () -> Void) throws(SystemError) {
        self.interface = interface
        self.stopping = stopping
        self.onChange = onChange
        // Opened here, so that nothing that happens after the initializer returned is missed.
        first = try NetlinkSocket(family: NETLINK_ROUTE, groups: Listener.groups)
    }

    func run() {
        var socket = first
        while true {
            let ready = Poll.readable([stopping.number, socket.number], upTo: nil)
            if ready[0] { return }
            do throws(SystemError) {
                if try concernsUs(drain(socket)) { onChange() }
            } catch {
                // ENOBUFS: messages were lost, so anything may have changed. Any other error: a new socket, and the same.
                if error.code != ENOBUFS {
                    if stopping.wait(upTo: .milliseconds(200)) { return }
                    do throws(SystemError) {
                        socket = try NetlinkSocket(family: NETLINK_ROUTE, groups: Listener.groups)
                    } catch {
                        // No socket to be had (descriptors used up): tried again after the next pause. Callers look at
                        // the table with every heartbeat as well.
                        continue
                    }
                }
                onChange()
            }
        }
    }

    private func drain(_ socket: NetlinkSocket) throws(SystemError) -> [NetlinkReply] {
        var all: [NetlinkReply] = []
        while true {
            let some = try socket.receive("hear of changed addresses")
            if some.isEmpty { return all }
            all += some
        }
    }

    private func concernsUs(_ replies: [NetlinkReply]) -> Bool {
        // Zero when the interface does not exist (any more): then only its name can be compared.
        let index = if_nametoindex(interface)
        return replies.contains { reply in
            if let facts = InterfaceFacts(reply) { return facts.name == interface }
            guard reply.type == Int(RTM_NEWADDR) || reply.type == Int(RTM_DELADDR) else { return false }
            guard let fixed = reply.fixed(as: ifaddrmsg.self) else { return true }
            return index == 0 || fixed.ifa_index == index
        }
    }
}
