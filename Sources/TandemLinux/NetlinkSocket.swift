import CLinux
import Glibc
import Synchronization
import TandemSystem

/// A socket to the kernel, for requests and their answers. It belongs to the network namespace of the thread that made it.
final class NetlinkSocket: Sendable {
    private let descriptor: Descriptor
    private let sequence = Mutex<UInt32>(0)
    /// The kernel answers within microseconds; this only keeps a broken one from hanging us.
    private static let patience = Duration.seconds(1)

    /// - Parameters:
    ///   - family: NETLINK_ROUTE or NETLINK_SOCK_DIAG.
    ///   - groups: events to hear (RTMGRP_…); a socket that hears events is not used for requests.
    init(family: Int32, groups: Int32 = 0) throws(SystemError) {
        let number = socket(AF_NETLINK, cl_sock_raw | cl_sock_cloexec, family)
        guard number >= 0 else { throw SystemError.last("open a netlink socket") }
        descriptor = Descriptor(number)
        var address = sockaddr_nl()
        address.nl_family = sa_family_t(AF_NETLINK)
        address.nl_groups = UInt32(bitPattern: groups)
        let bound = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(number, $0, socklen_t(MemoryLayout<sockaddr_nl>.size))
            }
        }
        guard bound == 0 else { throw SystemError.last("bind a netlink socket") }
    }

    var number: Int32 { descriptor.number }

    /// One request that the kernel acknowledges.
    func request(
        _ attempted: @autoclosure () -> String, type: Int, flags: Int32, build: (inout NetlinkMessage) -> Void
    ) throws(SystemError) {
        _ = try exchange(attempted(), type: type, flags: flags | NLM_F_ACK, build: build)
    }

    /// One request with one answer (no NLM_F_ACK), or a dump (NLM_F_DUMP) with many.
    func replies(
        _ attempted: @autoclosure () -> String, type: Int, flags: Int32, build: (inout NetlinkMessage) -> Void
    ) throws(SystemError) -> [NetlinkReply] {
        // A dump during which the table changed is marked by the kernel, and asked again.
        for _ in 0..<8 {
            let replies = try exchange(attempted(), type: type, flags: flags, build: build)
            if !replies.contains(where: { Int32($0.header.nlmsg_flags) & NLM_F_DUMP_INTR != 0 }) { return replies }
        }
        throw SystemError(attempted: attempted(), code: EAGAIN, advice: "Look what changes addresses without a pause.")
    }

    private func exchange(
        _ attempted: @autoclosure () -> String, type: Int, flags: Int32, build: (inout NetlinkMessage) -> Void
    ) throws(SystemError) -> [NetlinkReply] {
        // One exchange at a time: the answers come on one socket.
        let outcome: Result<[NetlinkReply], SystemError> = sequence.withLock { sequence in
            sequence &+= 1
            var message = NetlinkMessage(
                type: UInt16(truncatingIfNeeded: type), flags: flags | NLM_F_REQUEST, sequence: sequence)
            build(&message)
            do throws(SystemError) {
                try send(message, attempted())
                return .success(try collect(sequence, dump: flags & NLM_F_DUMP == NLM_F_DUMP, attempted()))
            } catch {
                return .failure(error)
            }
        }
        return try outcome.get()
    }

    private func send(_ message: NetlinkMessage, _ attempted: @autoclosure () -> String) throws(SystemError) {
        let sent = message.bytes.withUnsafeBytes { Glibc.send(number, $0.baseAddress, $0.count, 0) }
        guard sent == message.bytes.count else { throw SystemError.last(attempted()) }
    }

    private func collect(
        _ sequence: UInt32, dump: Bool, _ attempted: @autoclosure () -> String
    ) throws(SystemError) -> [NetlinkReply] {
        let end = SystemClock.now() + NetlinkSocket.patience.nanoseconds
        var found: [NetlinkReply] = []
        while true {
            let left = Duration.nanoseconds(max(0, end - SystemClock.now()))
            guard Poll.readable([number], upTo: left) == [true] else {
                throw SystemError(attempted: attempted(), code: ETIMEDOUT)
            }
            // Others: answers to an earlier request that we gave up.
            for reply in try receive(attempted()) where reply.header.nlmsg_seq == sequence {
                switch Int32(reply.header.nlmsg_type) {
                case NLMSG_ERROR:
                    let code = -(reply.fixed(as: Int32.self) ?? -EBADMSG)
                    guard code == 0 else { throw SystemError(attempted: attempted(), code: code) }
                    return found
                case NLMSG_DONE:
                    return found
                default:
                    found.append(reply)
                    if !dump { return found }
                }
            }
        }
    }

    /// What is there now; empty if nothing is.
    /// - Throws: ENOBUFS if messages were lost because nobody read.
    func receive(_ attempted: @autoclosure () -> String) throws(SystemError) -> [NetlinkReply] {
        // The kernel fills at most 32 KiB into one datagram of a dump.
        var buffer = [UInt8](repeating: 0, count: 65536)
        let count = recv(number, &buffer, buffer.count, cl_msg_dontwait)
        guard count >= 0 else {
            if errno == EAGAIN || errno == EINTR { return [] }
            throw SystemError.last(attempted())
        }
        return NetlinkReply.parse(buffer[..<count])
    }
}
