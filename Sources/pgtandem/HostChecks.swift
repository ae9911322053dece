import CLinux
import Glibc
import TandemConfiguration
import TandemPostgres
import TandemSystem

/// What can be seen to be wrong on this host before anything is touched.
enum HostChecks {
    /// Why the virtual addresses could not be held here; nil: the interface is there.
    static func missingInterface(_ configuration: Configuration) -> String? {
        let name = configuration.virtualAddresses.interface
        guard if_nametoindex(name) == 0 else { return nil }
        return "there is no network interface `\(name)` on this host (it has \(interfaces().joined(separator: ", "))): correct "
            + "`virtual_addresses.interface` in \(configuration.file)"
    }

    static func requireInterface(_ configuration: Configuration) throws {
        if let problem = missingInterface(configuration) { throw CommandFailure.failed(problem + ". Nothing was touched") }
    }

    /// PostgreSQL does not run here and will be started: its port must be free, and its socket nobody else's.
    static func requireFreePort(_ settings: InstanceSettings) throws {
        try DirectoryCheck.requireNoOtherPostmaster(settings)
        for family in [AF_INET, AF_INET6] where isTaken(settings.port, family) {
            throw CommandFailure.failed(
                "another program listens on port \(settings.port), which PostgreSQL here shall have (`ss -ltnp 'sport = :\(settings.port)'` names "
                    + "it): stop it, or correct `postgresql.port`. Nothing was touched")
        }
    }

    private static func isTaken(_ port: Int, _ family: Int32) -> Bool {
        let number = socket(family, cl_sock_stream | cl_sock_cloexec, 0)
        // Without the family there is nothing to be in the way.
        guard number >= 0 else { return false }
        let descriptor = Descriptor(number)
        var yes: Int32 = 1
        let size = socklen_t(MemoryLayout<Int32>.size)
        // Connections that are just over must not count.
        setsockopt(descriptor.number, SOL_SOCKET, SO_REUSEADDR, &yes, size)
        let port = in_port_t(UInt16(clamping: port)).bigEndian
        let result: Int32
        if family == AF_INET {
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = port
            result = withUnsafePointer(to: address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(descriptor.number, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
        } else {
            setsockopt(descriptor.number, cl_ipproto_ipv6, IPV6_V6ONLY, &yes, size)
            var address = sockaddr_in6()
            address.sin6_family = sa_family_t(AF_INET6)
            address.sin6_port = port
            result = withUnsafePointer(to: address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(descriptor.number, $0, socklen_t(MemoryLayout<sockaddr_in6>.size))
                }
            }
        }
        return result != 0 && errno == EADDRINUSE
    }

    private static func interfaces() -> [String] {
        guard let list = if_nameindex() else { return [] }
        defer { if_freenameindex(list) }
        var names: [String] = []
        var entry = list
        while entry.pointee.if_index != 0, let name = entry.pointee.if_name {
            names.append(String(cString: name))
            entry = entry.advanced(by: 1)
        }
        return names
    }
}
