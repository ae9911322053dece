import CLinux
import Glibc
import TandemSystem
import Testing

@testable import TandemLinux

/// Giving an address up ends its client connections first (protocol.md, 7).
@Suite struct SessionEndTests {
    let hosts: TwoHosts
    let role: RoleAddresses

    init() throws {
        let hosts = try TwoHosts()
        self.hosts = hosts
        let both = [try #require(VirtualAddress("192.0.2.7")), try #require(VirtualAddress("2001:db8::7"))]
        role = try hosts.left.inside {
            let role = try RoleAddresses(interface: "eth0", addresses: both) { _ in }
            _ = try role.claim(probing: false, takeRegardless: true)
            return role
        }
    }

    /// The server listens for both families on one socket: its IPv4 connections have mapped addresses.
    @Test(arguments: ["192.0.2.7", "2001:db8::7"])
    func theClientSeesTheEndAtOnce(_ text: String) throws {
        let role = role
        let server = try hosts.left.inside { try Plug.listener() }
        let port = try server.port()
        let client = try hosts.right.inside { try Plug.connected(to: text, port: port) }
        let session = try server.accepted()
        let own = text.contains(":") ? "2001:db8::1" : "192.0.2.1"
        let bystander = try hosts.right.inside { try Plug.connected(to: own, port: port) }
        let untouched = try server.accepted()
        try bystander.send("still here")
        #expect(try client.stillOpen())

        let begun = SystemClock.now()
        let report = try hosts.left.inside { try role.release() }
        #expect(report.endedSessions == 1)
        #expect(report.endingRefused == nil)
        #expect(client.reasonOfEnd(within: .seconds(5)) == ECONNRESET)
        #expect(SystemClock.now() - begun < 2_000_000_000)
        #expect(session.reasonOfEnd(within: .seconds(5)) == ECONNABORTED)
        #expect(try untouched.received() == "still here", "connections to the host's own address live on")

    }

    /// PostgreSQL may listen on just this address, and the address comes back later.
    @Test func aListeningSocketOutlivesTheAddress() throws {
        let role = role
        let server = try hosts.left.inside { try Plug.listener(on: "2001:db8::7") }
        let port = try server.port()
        #expect(try hosts.left.inside { try role.release() }.endedSessions == 0)
        _ = try hosts.left.inside { try role.claim(probing: false, takeRegardless: true) }
        let client = try hosts.right.inside { try Plug.connected(to: "2001:db8::7", port: port) }
        #expect(try client.stillOpen())
        _ = try server.accepted()
    }
}

/// A TCP socket.
final class Plug: Sendable {
    private let descriptor: Descriptor
    private var number: Int32 { descriptor.number }

    private init(_ number: Int32) throws {
        guard number >= 0 else { throw SystemError.last("make a socket") }
        descriptor = Descriptor(number)
    }

    static func listener(on text: String = "::") throws -> Plug {
        let plug = try Plug(socket(AF_INET6, cl_sock_stream | cl_sock_cloexec, 0))
        var off: Int32 = 0
        setsockopt(plug.number, cl_ipproto_ipv6, IPV6_V6ONLY, &off, 4)
        var address = sockaddr_in6()
        address.sin6_family = sa_family_t(AF_INET6)
        inet_pton(AF_INET6, text, &address.sin6_addr)
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(plug.number, $0, socklen_t(MemoryLayout<sockaddr_in6>.size))
            }
        }
        guard bound == 0, listen(plug.number, 8) == 0 else { throw SystemError.last("listen") }
        return plug
    }

    func port() throws -> in_port_t {
        var address = sockaddr_in6()
        var length = socklen_t(MemoryLayout<sockaddr_in6>.size)
        let code = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(number, $0, &length) }
        }
        guard code == 0 else { throw SystemError.last("ask for the port") }
        return address.sin6_port
    }

    static func connected(to text: String, port: in_port_t) throws -> Plug {
        let isV6 = text.contains(":")
        let plug = try Plug(socket(isV6 ? AF_INET6 : AF_INET, cl_sock_stream | cl_sock_cloexec, 0))
        var time = timeval(tv_sec: 5, tv_usec: 0)
        setsockopt(plug.number, SOL_SOCKET, SO_SNDTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
        let code: Int32
        if isV6 {
            var address = sockaddr_in6()
            address.sin6_family = sa_family_t(AF_INET6)
            address.sin6_port = port
            inet_pton(AF_INET6, text, &address.sin6_addr)
            code = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    connect(plug.number, $0, socklen_t(MemoryLayout<sockaddr_in6>.size))
                }
            }
        } else {
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = port
            inet_pton(AF_INET, text, &address.sin_addr)
            code = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    connect(plug.number, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
        }
        guard code == 0 else { throw SystemError.last("connect to \(text)") }
        return plug
    }

    func accepted() throws -> Plug {
        guard Poll.readable([number], upTo: .seconds(5)) == [true] else { throw Failure(text: "nobody connected") }
        return try Plug(accept(number, nil, nil))
    }

    func send(_ text: String) throws {
        guard Glibc.send(number, text, text.utf8.count, cl_msg_nosignal) == text.utf8.count else {
            throw SystemError.last("send")
        }
    }

    func received() throws -> String {
        guard Poll.readable([number], upTo: .seconds(5)) == [true] else { throw Failure(text: "nothing came") }
        var buffer = [UInt8](repeating: 0, count: 1024)
        let count = recv(number, &buffer, buffer.count, 0)
        guard count >= 0 else { throw SystemError.last("receive") }
        return String(decoding: buffer[..<count], as: UTF8.self)
    }

    func stillOpen() throws -> Bool {
        var byte: UInt8 = 0
        return recv(number, &byte, 1, cl_msg_dontwait | cl_msg_peek) < 0 && errno == EAGAIN
    }

    /// The errno that ended it; 0: an orderly end; nil: it is still open.
    func reasonOfEnd(within patience: Duration) -> Int32? {
        guard Poll.readable([number], upTo: patience) == [true] else { return nil }
        var byte: UInt8 = 0
        return recv(number, &byte, 1, 0) < 0 ? errno : 0
    }
}
