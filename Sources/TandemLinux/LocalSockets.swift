import CLinux
import Glibc
import TandemSystem

/// TCP sockets of this host, of whatever process, found and ended by the kernel (sock_diag(7), SOCK_DESTROY).
final class LocalSockets: Sendable {
    private let socket: NetlinkSocket

    init() throws(SystemError) {
        socket = try NetlinkSocket(family: NETLINK_SOCK_DIAG)
    }

    /// Ends every TCP connection whose local address is one of these, in whatever state; both sides see an error at once.
    ///
    /// Listening sockets stay: PostgreSQL that listens on just this address would never accept again when it comes back.
    /// - Returns: how many were ended, and the first refusal: EPERM without CAP_NET_ADMIN; EOPNOTSUPP or ENOENT if the
    ///   kernel was built without it.
    func end(withLocal addresses: [IPAddress]) -> (ended: Int, refused: SystemError?) {
        var ended = 0
        var refused: SystemError?
        // A socket that serves both families shows its IPv4 peers as mapped addresses.
        let sources = Set(
            addresses.map { $0.bytes } + addresses.filter { !$0.isV6 }.map { IPAddress.mappedPrefix + $0.bytes })
        let hasV4 = addresses.contains { !$0.isV6 }
        for family in hasV4 ? [AF_INET, AF_INET6] : [AF_INET6] {
            do throws(SystemError) {
                for entry in try list(family) where sources.contains(LocalSockets.source(of: entry)) {
                    do throws(SystemError) {
                        if try end(entry) { ended += 1 }
                    } catch {
                        refused = refused ?? error
                    }
                }
            } catch {
                refused = refused ?? error
            }
        }
        return (ended, refused)
    }

    /// How many `end` would end.
    func count(withLocal addresses: [IPAddress]) throws(SystemError) -> Int {
        let sources = Set(addresses.map(\.bytes))
        let all = try list(AF_INET) + list(AF_INET6)
        return all.count { sources.contains(LocalSockets.source(of: $0)) }
    }

    private static let destroy = 21  // SOCK_DESTROY (linux/sock_diag.h)
    private static let byFamily = 20  // SOCK_DIAG_BY_FAMILY

    /// All states but TIME_WAIT (6), CLOSE (7) and LISTEN (10): bits by number (include/net/tcp_states.h).
    private static let states: UInt32 = 0x1fff & ~(1 << 0 | 1 << 6 | 1 << 7 | 1 << 10)

    private func list(_ family: Int32) throws(SystemError) -> [inet_diag_msg] {
        let replies = try socket.replies("list TCP sockets", type: LocalSockets.byFamily, flags: NLM_F_DUMP) { message in
            var fixed = inet_diag_req_v2()
            fixed.sdiag_family = UInt8(truncatingIfNeeded: family)
            fixed.sdiag_protocol = UInt8(truncatingIfNeeded: cl_ipproto_tcp)
            fixed.idiag_states = LocalSockets.states
            message.append(fixed)
        }
        return replies.compactMap { $0.fixed(as: inet_diag_msg.self) }
    }

    private static func source(of entry: inet_diag_msg) -> [UInt8] {
        let length = Int32(entry.idiag_family) == AF_INET ? 4 : 16
        return withUnsafeBytes(of: entry.id.idiag_src) { Array($0.prefix(length)) }
    }

    /// False: it was gone already.
    private func end(_ entry: inet_diag_msg) throws(SystemError) -> Bool {
        do throws(SystemError) {
            try socket.request("end a TCP connection of an address", type: LocalSockets.destroy, flags: 0) { message in
                var fixed = inet_diag_req_v2()
                fixed.sdiag_family = entry.idiag_family
                fixed.sdiag_protocol = UInt8(truncatingIfNeeded: cl_ipproto_tcp)
                fixed.idiag_states = LocalSockets.states
                // The cookie in it makes it this very socket, not a later one with the same numbers.
                fixed.id = entry.id
                message.append(fixed)
            }
            return true
        } catch {
            if error.code == ENOENT { return false }
            throw error
        }
    }
}
