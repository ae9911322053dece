import Glibc
import TandemSystem

/// Stream sockets in the file system, with deadlines.
enum UnixSocket {
    static func listen(_ path: String) throws -> Descriptor {
        try clear(path)
        let descriptor = try make()
        let bound = try withAddress(path) { bind(descriptor.number, $0, $1) }
        guard bound == 0 else {
            throw UnixSocketError(
                text:
                    "cannot listen on \(path): \(errorText()). Let the agent's user write into its folder, or correct `control_socket`."
            )
        }
        guard chmod(path, 0o660) == 0, Glibc.listen(descriptor.number, 16) == 0 else {
            throw UnixSocketError(text: "cannot listen on \(path): \(errorText())")
        }
        return descriptor
    }

    /// What a dead agent left is in the way of a living one. A living one with another state directory keeps its socket, and what
    /// is no socket is not ours.
    private static func clear(_ path: String) throws {
        var facts = stat()
        guard lstat(path, &facts) == 0 else { return }
        guard facts.st_mode & S_IFMT == S_IFSOCK else {
            throw UnixSocketError(
                text: "cannot listen on \(path): it is no socket. Correct `control_socket`, or move that file away.")
        }
        let descriptor = try make()
        if try withAddress(path, { Glibc.connect(descriptor.number, $0, $1) }) == 0 {
            throw UnixSocketError(
                text:
                    "cannot listen on \(path): another agent answers there. Stop that one, or give this one another `control_socket`."
            )
        }
        unlink(path)
    }

    static func connect(_ path: String) throws -> Descriptor {
        let descriptor = try make()
        let result = try withAddress(path) { Glibc.connect(descriptor.number, $0, $1) }
        if result == 0 { return descriptor }
        let code = errno
        switch code {
        case ENOENT, ECONNREFUSED:
            throw UnixSocketError(
                text: "no agent answers on \(path): is it running? (`systemctl status pgtandem`, or `pgtandem run`)")
        case EACCES:
            throw UnixSocketError(text: "\(path) may not be opened by this user: run the command as root or as the agent's user")
        default:
            throw UnixSocketError(text: "cannot reach the agent on \(path): \(String(cString: strerror(code)))")
        }
    }

    /// nil at the end of the stream.
    static func readLine(_ descriptor: Descriptor, limit: Int, patience: Duration) throws -> [UInt8]? {
        let deadline = SystemClock.after(patience)
        var line: [UInt8] = []
        var byte: UInt8 = 0
        while true {
            let left = Duration.nanoseconds(max(0, deadline - SystemClock.now()))
            guard Poll.readable([descriptor.number], upTo: left) == [true] else {
                throw UnixSocketError(text: "no answer within \(patience.components.seconds) s")
            }
            let count = read(descriptor.number, &byte, 1)
            if count == 0 { return line.isEmpty ? nil : line }
            guard count == 1 else { throw UnixSocketError(text: "cannot read: \(errorText())") }
            if byte == UInt8(ascii: "\n") { return line }
            line.append(byte)
            guard line.count <= limit else { throw UnixSocketError(text: "a line of more than \(limit) bytes") }
        }
    }

    static func write(_ bytes: [UInt8], to descriptor: Descriptor, patience: Duration) throws {
        var sent = 0
        let deadline = SystemClock.after(patience)
        while sent < bytes.count {
            let count = bytes[sent...].withUnsafeBytes {
                send(descriptor.number, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
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
        let number = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
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
    public var description: String { text }
}
