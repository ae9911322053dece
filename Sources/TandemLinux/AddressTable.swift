import CLinux
import Glibc
import TandemSystem

/// What the kernel says of a network interface.
public struct InterfaceFacts: Equatable, Sendable {
    public var name: String
    public var index: Int32
    /// Nil for interfaces without one (loopback, tunnels).
    public var mac: MACAddress?
    /// Set up by the administrator; says nothing of the cable.
    public var isUp: Bool
    /// Operational: up, and the cable (or the other end) is there.
    public var hasCarrier: Bool
    /// Speaks ARP and neighbour discovery; loopback and tunnels do not.
    public var hasNeighbours: Bool
}

/// The addresses of one interface, by rtnetlink(7). Calls take microseconds. It works in the network namespace of the
/// thread that made it. Listing needs no privilege; changing needs CAP_NET_ADMIN.
public final class AddressTable: Sendable {
    public let interface: String
    private let socket: NetlinkSocket

    /// The interface need not exist yet.
    public init(interface: String) throws(SystemError) {
        self.interface = interface
        socket = try NetlinkSocket(family: NETLINK_ROUTE)
    }

    /// Nil: no such interface.
    public func facts() throws(SystemError) -> InterfaceFacts? {
        let name = Array(interface.utf8) + [0]
        // Asked by name each time: an interface that was made anew has another index.
        guard name.count <= Int(IFNAMSIZ) else { return nil }
        do throws(SystemError) {
            let replies = try socket.replies("look at \(interface)", type: Int(RTM_GETLINK), flags: 0) { message in
                message.append(ifinfomsg())
                message.attribute(Int(IFLA_IFNAME), name)
            }
            return replies.first.flatMap { InterfaceFacts($0) }
        } catch {
            guard error.code == ENODEV else { throw error }
            return nil
        }
    }

    /// Hardware addresses of all interfaces of this host. Linux answers ARP for any of its addresses on every interface
    /// in the same segment, so each of these is "us".
    public func ownHardwareAddresses() throws(SystemError) -> Set<MACAddress> {
        Set(try links().compactMap(\.mac))
    }

    /// Those of `wanted` that the interface has, whatever their prefix length, and that can be used (an IPv6 address that
    /// lost duplicate detection, or waits for it, cannot).
    public func held(of wanted: [VirtualAddress]) throws(SystemError) -> [VirtualAddress] {
        guard let index = try facts()?.index else { return [] }
        let usable = Set(try entries().filter { $0.index == index && !$0.isUnusable }.map(\.address))
        return wanted.filter { usable.contains($0.address) }
    }

    /// The interface of this host that has the address, ours or another; nil: none has.
    public func holder(of address: IPAddress) throws(SystemError) -> String? {
        guard let entry = try entries().first(where: { $0.address == address }) else { return nil }
        return try links().first { $0.index == entry.index }?.name ?? "interface \(entry.index)"
    }

    /// The interface's own addresses, usable ones only.
    func addresses() throws(SystemError) -> [VirtualAddress] {
        guard let index = try facts()?.index else { return [] }
        return try entries().filter { $0.index == index && !$0.isUnusable }.compactMap {
            VirtualAddress($0.address, prefixLength: $0.prefixLength)
        }
    }

    /// Adds it; that it is there already is fine. IPv6: without duplicate detection, which would keep it unusable for a
    /// second or more (our own probe has been made), and never chosen as the source of this host's own connections
    /// (deprecated, RFC 6724 rule 3), which would break when the role moves.
    /// - Parameter lifetimeSeconds: the kernel removes it by itself when that passed; nil: it stays.
    /// - Throws: ENODEV without the interface, EPERM without CAP_NET_ADMIN.
    public func add(_ wanted: VirtualAddress, lifetimeSeconds: UInt32? = nil) throws(SystemError) {
        let index = try requireFacts("add \(wanted)").index
        if wanted.address.isV6 {
            // Left from a failed duplicate detection: adding again would not make it usable.
            for entry in try entries() where entry.index == index && entry.address == wanted.address && entry.isUnusable {
                try delete(entry)
            }
        }
        try put(wanted, index, lifetimeSeconds, "add \(wanted) to \(interface)")
    }

    /// Gives those of `wanted` that are there, with whatever prefix length, this time from now on. One that is not there stays away:
    /// somebody removed it, or its time was over.
    /// - Parameter lifetimeSeconds: nil: for good.
    /// - Returns: those that have it now.
    public func renew(_ wanted: [VirtualAddress], lifetimeSeconds: UInt32?) throws(SystemError) -> [VirtualAddress] {
        guard let index = try facts()?.index else { return [] }
        let before = try entries().filter { entry in entry.index == index && wanted.contains { $0.address == entry.address } }
        for entry in before {
            guard let address = VirtualAddress(entry.address, prefixLength: entry.prefixLength) else { continue }
            try put(address, index, lifetimeSeconds, "renew \(address) on \(interface)")
        }
        // The kernel takes an order to replace an address that has just gone for one to add it (linux, inet_rtm_newaddr). The guard may
        // have removed it between two calls of ours: then it was born anew, and goes again.
        let after = try entries()
        for entry in after where entry.index == index {
            guard let old = before.first(where: { $0.address == entry.address && $0.prefixLength == entry.prefixLength }) else {
                continue
            }
            if old.born != entry.born { try delete(entry) }
        }
        let kept = Set(
            after.filter { entry in before.contains { $0.address == entry.address && $0.born == entry.born } }.map(\.address))
        return wanted.filter { kept.contains($0.address) }
    }

    /// REPLACE: an address that is there gets the lifetime given now.
    private func put(
        _ wanted: VirtualAddress, _ index: Int32, _ lifetimeSeconds: UInt32?, _ attempted: String
    ) throws(SystemError) {
        let forever = UInt32.max
        let preferred = wanted.address.isV6 ? 0 : lifetimeSeconds ?? forever
        do throws(SystemError) {
            try socket.request(attempted, type: Int(RTM_NEWADDR), flags: NLM_F_CREATE | NLM_F_REPLACE) { message in
                var fixed = ifaddrmsg()
                fixed.ifa_family = UInt8(truncatingIfNeeded: wanted.address.family)
                fixed.ifa_prefixlen = UInt8(truncatingIfNeeded: wanted.prefixLength)
                fixed.ifa_flags = wanted.address.isV6 ? UInt8(IFA_F_NODAD) : 0
                fixed.ifa_index = UInt32(bitPattern: index)
                message.append(fixed)
                message.attribute(Int(IFA_LOCAL), wanted.address.bytes)
                message.attribute(Int(IFA_ADDRESS), wanted.address.bytes)
                let lifetime = ifa_cacheinfo(
                    ifa_prefered: preferred, ifa_valid: lifetimeSeconds ?? forever, cstamp: 0, tstamp: 0)
                message.attribute(Int(IFA_CACHEINFO), value: lifetime)
            }
        } catch {
            guard error.code != EEXIST else { return }
            throw advised(error)
        }
    }

    /// Removes it, with every prefix length it may have; that it is not there is fine, and so is no such interface.
    /// - Returns: true if it was there.
    @discardableResult
    public func remove(_ unwanted: VirtualAddress) throws(SystemError) -> Bool {
        guard let index = try facts()?.index else { return false }
        var found = false
        for entry in try entries() where entry.index == index && entry.address == unwanted.address {
            found = true
            try delete(entry)
        }
        return found
    }

    // MARK: The kernel's tables

    private struct Entry {
        var address: IPAddress
        var prefixLength: Int
        var index: Int32
        var flags: Int
        /// When it was added, in hundredths of a second; a renewal does not change it.
        var born: UInt32

        var isUnusable: Bool { flags & (Int(IFA_F_TENTATIVE) | Int(IFA_F_DADFAILED)) != 0 }
    }

    private func delete(_ entry: Entry) throws(SystemError) {
        do throws(SystemError) {
            try socket.request(
                "remove \(entry.address)/\(entry.prefixLength) from \(interface)", type: Int(RTM_DELADDR), flags: 0
            ) { message in
                var fixed = ifaddrmsg()
                fixed.ifa_family = UInt8(truncatingIfNeeded: entry.address.family)
                fixed.ifa_prefixlen = UInt8(truncatingIfNeeded: entry.prefixLength)
                fixed.ifa_index = UInt32(bitPattern: entry.index)
                message.append(fixed)
                message.attribute(Int(IFA_LOCAL), entry.address.bytes)
                if entry.address.isV6 { message.attribute(Int(IFA_ADDRESS), entry.address.bytes) }
            }
        } catch {
            // Gone in the meantime, or the whole interface.
            guard error.code != EADDRNOTAVAIL, error.code != ENODEV else { return }
            throw advised(error)
        }
    }

    private func entries() throws(SystemError) -> [Entry] {
        let replies = try socket.replies("list addresses", type: Int(RTM_GETADDR), flags: NLM_F_DUMP) { message in
            message.append(ifaddrmsg())
        }
        return replies.compactMap { reply in
            guard reply.type == Int(RTM_NEWADDR), let fixed = reply.fixed(as: ifaddrmsg.self) else { return nil }
            let attributes = reply.attributes(after: MemoryLayout<ifaddrmsg>.size)
            // IFA_ADDRESS is the other end on a point-to-point interface.
            guard let bytes = attributes[Int(IFA_LOCAL)] ?? attributes[Int(IFA_ADDRESS)] else { return nil }
            guard let address = IPAddress(bytes: bytes) else { return nil }
            let times = attributes[Int(IFA_CACHEINFO)]?.load(as: ifa_cacheinfo.self)
            let flags = attributes[Int(IFA_FLAGS)]?.load(as: UInt32.self) ?? UInt32(fixed.ifa_flags)
            return Entry(
                address: address, prefixLength: Int(fixed.ifa_prefixlen), index: Int32(bitPattern: fixed.ifa_index),
                flags: Int(flags), born: times?.cstamp ?? 0)
        }
    }

    private func links() throws(SystemError) -> [InterfaceFacts] {
        let replies = try socket.replies("list interfaces", type: Int(RTM_GETLINK), flags: NLM_F_DUMP) { message in
            message.append(ifinfomsg())
        }
        return replies.compactMap { InterfaceFacts($0) }
    }

    private func advised(_ error: SystemError) -> SystemError {
        var error = error
        switch error.code {
        case EPERM: error.advice = "Give this program the capability CAP_NET_ADMIN."
        case EACCES: error.advice = "Enable IPv6 on \(interface) (sysctl net.ipv6.conf.\(interface).disable_ipv6)."
        default: break
        }
        return error
    }
}

extension InterfaceFacts {
    /// From an RTM_NEWLINK or RTM_DELLINK message; nil for any other.
    init?(_ reply: NetlinkReply) {
        guard reply.type == Int(RTM_NEWLINK) || reply.type == Int(RTM_DELLINK) else { return nil }
        guard let fixed = reply.fixed(as: ifinfomsg.self) else { return nil }
        let attributes = reply.attributes(after: MemoryLayout<ifinfomsg>.size)
        guard let text = attributes[Int(IFLA_IFNAME)] else { return nil }
        let flags = Int(fixed.ifi_flags)
        // A card of another kind (InfiniBand, tunnel) has an address of another length.
        let mac = attributes[Int(IFLA_ADDRESS)].flatMap { MACAddress(bytes: $0) }
        let isPlain = flags & (Int(IFF_LOOPBACK) | Int(IFF_NOARP)) == 0
        self.init(
            name: String(decoding: text.prefix { $0 != 0 }, as: UTF8.self), index: fixed.ifi_index,
            mac: isPlain ? mac : nil, isUp: flags & Int(IFF_UP) != 0,
            hasCarrier: flags & Int(IFF_UP) != 0 && flags & Int(IFF_RUNNING) != 0,
            hasNeighbours: isPlain && mac != nil)
    }
}
