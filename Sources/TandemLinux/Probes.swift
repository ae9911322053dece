import Glibc
import TandemSystem

/// Does somebody else on the segment have an address? (RFC 5227, 2.1.1; RFC 4862, 5.4)
public enum DuplicateProbe {
    /// The card that answers for the address, or nil if none did within the time. Up to three probes; the first answer
    /// returns at once; answers of this host's own cards do not count.
    ///
    /// Silence proves little: the owner may be cut off. Only authority may rest on more than that. Nil at once on an
    /// interface without neighbours (loopback, tunnel).
    /// - Throws: ENODEV without the interface, ENETDOWN if it is down, EPERM without CAP_NET_RAW.
    public static func owner(
        of address: IPAddress, interface: String, patience: Duration
    ) throws(SystemError) -> MACAddress? {
        try owners(of: [address], table: AddressTable(interface: interface), patience: patience).first?.mac
    }

    static func owners(
        of addresses: [IPAddress], table: AddressTable, patience: Duration
    ) throws(SystemError) -> [NeighbourClaim] {
        let facts = try table.requireFacts("probe addresses")
        guard facts.hasNeighbours else { return [] }
        let own = try table.ownHardwareAddresses()
        let segment = try Segment(facts, hearing: addresses)
        return try segment.inquire(addresses, from: { _ in nil }, upTo: patience) { claim in
            addresses.contains(claim.address) && !own.contains(claim.mac)
        }
    }
}

/// Does a neighbour (the gateway) answer? A check of our own network. What a question needs (sockets, cards, the address to ask from) is kept
/// for the next one while the neighbour answers, and made anew when it does not.
public struct NeighbourProbe {
    private let neighbour: IPAddress
    private let interface: String
    private let source: IPAddress?
    private var kept: Asker?

    /// - Parameter source: asks from this address; nil: from the interface's own address in the neighbour's network, or
    ///   for IPv6 its link-local one.
    public init(_ neighbour: IPAddress, interface: String, from source: IPAddress? = nil) {
        self.neighbour = neighbour
        self.interface = interface
        self.source = source
    }

    /// True at the first answer; false if none came within the time, or the interface has no carrier, or is not there.
    /// - Parameter patience: with sockets that were kept, a third more: silence may be theirs.
    /// - Throws: EPERM without CAP_NET_RAW; EOPNOTSUPP on an interface without neighbours.
    public mutating func answers(within patience: Duration) throws(SystemError) -> Bool {
        if let asker = kept.take() {
            do throws(SystemError) {
                // What was said since the last question answers none of ours.
                _ = try asker.segment.claims()
                if try asker.answers(within: patience / 3) {
                    kept = asker
                    return true
                }
            } catch {
                // The interface went down, or away and came back as another: the new sockets say which.
            }
        }
        let table = try AddressTable(interface: interface)
        guard let facts = try table.facts(), facts.hasCarrier else { return false }
        let sender = if let source { source } else { try ownAddress(table) }
        let asker = Asker(
            neighbour: neighbour, own: try table.ownHardwareAddresses(), sender: sender,
            segment: try Segment(facts, hearing: [neighbour]))
        do throws(SystemError) {
            let answers = try asker.answers(within: patience)
            if answers { kept = asker }
            return answers
        } catch {
            // The link went down while we asked: that is an answer.
            guard [ENETDOWN, ENODEV, ENXIO].contains(error.code) else { throw error }
            return false
        }
    }

    private func ownAddress(_ table: AddressTable) throws(SystemError) -> IPAddress? {
        let ours = try table.addresses()
        if neighbour.isV6 { return ours.first { $0.address.isV6 && $0.address.isLinkLocal }?.address }
        return ours.first { $0.address.shares(prefixLength: $0.prefixLength, with: neighbour) }?.address
    }

    private struct Asker {
        let neighbour: IPAddress
        let own: Set<MACAddress>
        let sender: IPAddress?
        let segment: Segment

        func answers(within patience: Duration) throws(SystemError) -> Bool {
            try !segment.inquire([neighbour], from: { _ in sender }, upTo: patience) { claim in
                claim.address == neighbour && !own.contains(claim.mac)
            }.isEmpty
        }
    }
}

/// Tells the segment where an address is now.
public enum Announcement {
    /// Gratuitous ARP in both forms, or an unsolicited neighbour advertisement to all nodes. Nothing on an interface
    /// without neighbours. Microseconds; nobody confirms it: repeat it.
    /// - Throws: ENODEV without the interface, ENETDOWN if it is down, EPERM without CAP_NET_RAW.
    public static func send(_ address: IPAddress, interface: String) throws(SystemError) {
        try send([address], table: AddressTable(interface: interface))
    }

    static func send(_ addresses: [IPAddress], table: AddressTable) throws(SystemError) {
        let facts = try table.requireFacts("announce addresses")
        guard facts.hasNeighbours else { return }
        let segment = try Segment(facts, hearing: [])
        for address in addresses { try segment.announce(address) }
    }
}

extension AddressTable {
    func requireFacts(_ attempted: @autoclosure () -> String) throws(SystemError) -> InterfaceFacts {
        guard let facts = try facts() else {
            throw SystemError(
                attempted: "\(attempted()) on \(interface)", code: ENODEV,
                advice: "Name an existing interface of this host, or bring \(interface) back.")
        }
        return facts
    }
}
