import Synchronization
import TandemSystem

/// Sends on an interface's segment by one socket that stays open: closing a packet socket waits for the kernel's other processors
/// (synchronize_net), some ten milliseconds that nobody has while an address moves.
final class Voice: Sendable {
    private let table: AddressTable
    private let kept = Mutex<(facts: InterfaceFacts, segment: Segment)?>(nil)

    init(table: AddressTable) { self.table = table }

    func announce(_ addresses: [IPAddress]) throws(SystemError) {
        try speak("announce addresses") { segment throws(SystemError) in
            for address in addresses { try segment.announce(address) }
        }
    }

    func probe(_ addresses: [IPAddress]) throws(SystemError) {
        try speak("probe addresses") { segment throws(SystemError) in
            for address in addresses { try segment.ask(address) }
        }
    }

    private func speak(_ what: String, _ words: (Segment) throws(SystemError) -> Void) throws(SystemError) {
        let facts = try table.requireFacts(what)
        guard facts.hasNeighbours else { return }
        let known = kept.withLock { kept in
            kept.flatMap { $0.facts.index == facts.index && $0.facts.mac == facts.mac ? $0.segment : nil }
        }
        if let known { return try words(known) }
        let segment = try Segment(facts, hearing: [])
        kept.withLock { $0 = (facts, segment) }
        try words(segment)
    }
}
