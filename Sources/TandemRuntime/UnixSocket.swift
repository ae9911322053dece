import CLinux
import Glibc
import TandemSystem

/// Who answers on a socket, in the words of messages.
package struct SocketOwner: Sendable {
    /// As in "no agent answers on".
    var name: String
    /// How to see whether it runs, and to start it.
    var start: String
    /// What puts the socket elsewhere.
    var option: String

    static let agent = SocketOwner(
        name: "agent", start: "`systemctl status pgtandem`, or `pgtandem run`", option: "`control_socket`")

    package init(name: String, start: String, option: String) {
        self.name = name
        self.start = start
        self.option = option
    }
}

/// Stream sockets in the file system, with deadlines.
package enum UnixSocket {
    package static func listen(_ path: String, as owner: SocketOwner = .agent) throws -> Descriptor {
        try clear(path, owner)
        let descriptor = try make()
        let bound = try withAddress(path) { bind(descriptor.number, $0, $1) }
        guard bound == 0 else {
            throw UnixSocketError(
                text:
                    "cannot listen on \(path): \(errorText()). Let the \(owner.name)'s user write into its folder, or correct \(owner.option)."
            )
        }
        guard chmod(path, 0o660) == 0, Glibc.listen(descriptor.number, 16) == 0 else {
            throw UnixSocketError(text: "cannot listen on \(path): \(errorText())")
        }
        return descriptor
    }

    /// What a dead agent left is in the way of a living one. A living one with another state directory keeps its socket, and what
    /// is no socket is not ours.
    private static func clear(_ path: String, _ owner: SocketOwner) throws {
        var facts = stat()
        guard lstat(path, &facts) == 0 else { return }
        guard facts.st_mode & S_IFMT == S_IFSOCK else {
            throw UnixSocketError(
                text: "cannot listen on \(path): it is no socket. Correct \(owner.option), or move that file away.")
        }
        let descriptor = try make()
        if try withAddress(path, { Glibc.connect(descriptor.number, $0, $1) }) == 0 {
            throw UnixSocketError(
                text:
                    "cannot listen on \(path): another \(owner.name) answers there. Stop that one, or give this one another \(owner.option)."
            )
        }
        unlink(path)
    }

    package static func connect(_ path: String, to owner: SocketOwner = .agent) throws -> Descriptor {
        let descriptor = try make()
        let result = try withAddress(path) { Glibc.connect(descriptor.number, $0, $1) }
        if result == 0 { return descriptor }
        let code = errno
        switch code {
        case ENOENT, ECONNREFUSED:
            throw UnixSocketError(
                text: "no \(owner.name) answers on \(path): is it running? (\(owner.start))")
        case EACCES:
            throw UnixSocketError(
                text: "\(path) may not be opened by this user: run the command as root or as the \(owner.name)'s user")
        default:
            throw UnixSocketError(text: "cannot reach the \(owner.name) on \(path): \(String(cString: strerror(code)))")
        }
    }

    /// nil at the end of the stream.
    package static func readLine(_ descriptor: Descriptor, limit: Int, patience: Duration) throws -> [UInt8]? {
        let deadline = SystemClock.after(patience)
        var line: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 4096)
        while true {
            let left = Duration.nanoseconds(max(0, deadline - SystemClock.now()))
            guard Poll.readable([descriptor.number], upTo: left) == [true] else {
                throw UnixSocketError(text: "no answer within \(patience.components.seconds) s")
            }
            // Looked at first, so that what stands behind the line's end stays for the next call.
            let there = recv(descriptor.number, &piece, piece.count, cl_msg_peek)
            if there == 0 { return line.isEmpty ? nil : line }
            guard there > 0 else { throw UnixSocketError(text: "cannot read: \(errorText())") }
            let end = piece[..<there].firstIndex(of: UInt8(ascii: "\n"))
            guard recv(descriptor.number, &piece, end.map { $0 + 1 } ?? there, 0) == end.map({ $0 + 1 }) ?? there else {
                throw UnixSocketError(text: "cannot read: \(errorText())")
            }
            line += piece[..<(end ?? there)]
            if end != nil { return line }
            guard line.count <= limit else { throw UnixSocketError(text: "a line of more than \(limit) bytes") }
        }
    }

    package static func write(_ bytes: [UInt8], to descriptor: Descriptor, patience: Duration) throws {
        var sent = 0
        let deadline = SystemClock.after(patience)
        while sent < bytes.count {
            let count = bytes[sent...].withUnsafeBytes {
                send(descriptor.number, $0.baseAddress, $0.count, cl_msg_nosignal | cl_msg_dontwait)
            }
            if count > 0 {
                sent += count
            } else if errno == EAGAIN, SystemClock.now() < deadline {
                var entry = pollfd(fd: descriptor.number, events: Int16(POLLOUT), revents: 0)
                _ = poll(&entry, 1, 100)
            } else {
                throw UnixSocketError(text: "cannot write: \(errorText())")
            }
        }
    }

    private static func make() throws -> Descriptor {
        let number = socket(AF_UNIX, cl_sock_stream | cl_sock_cloexec, 0)
        guard number >= 0 else { throw UnixSocketError(text: "cannot make a socket: \(errorText())") }
        return Descriptor(number)
    }

    private static func withAddress<R>(_ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> R) throws -> R {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else {
            throw UnixSocketError(text: "the path of the control socket is too long for the kernel (107 bytes): \(path)")
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        return withUnsafePointer(to: address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
        }
    }

    private static func errorText() -> String { String(cString: strerror(errno)) }
}

/// What went wrong on the control socket, and what to do.
public struct UnixSocketError: Error, Sendable, CustomStringConvertible {
    var text: String
    package init(text: String) { self.text = text }
    public var description: String { text }
}
