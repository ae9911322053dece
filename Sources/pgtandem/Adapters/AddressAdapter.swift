import Logging
import Synchronization
import TandemConfiguration
import TandemCore
import TandemLinux
import TandemRuntime
import TandemSystem

/// The addresses of both roles by netlink.
final class AddressAdapter: AddressPort {
    private let primary: RoleAddresses
    private let standby: RoleAddresses
    private let log: Logger
    private let beats = Mutex(Beats())
    /// Before a beat has said otherwise.
    private let cautious: Duration?
    private let telling = Mutex(())
    private let beatLane = Lane(name: "address-beat")

    /// The lifetimes of the last beat, and what the kernel was told of them.
    private struct Beats {
        var wanted: AddressLifetimes?
        var told: [AddressRole: (lifetime: AddressLifetimes.Lifetime, at: Int64)] = [:]
        var isQueued = false
        /// Left by the agent before this one: nobody claims them again while they are there.
        var adopted: Set<AddressRole> = []

        func lifetime(_ role: AddressRole) -> AddressLifetimes.Lifetime? { role == .primary ? wanted?.primary : wanted?.standby }

        /// A third of it is gone, or it is of another kind now. Not at each beat: whoever watches addresses would wake up each time.
        func isDue(_ role: AddressRole, _ now: Int64) -> Bool {
            guard let wanted = lifetime(role) else { return false }
            guard let told = told[role], told.lifetime == wanted else { return true }
            guard case .seconds(let seconds) = wanted else { return false }
            return now - told.at >= Int64(seconds) * 1_000_000_000 / 3
        }
    }

    init(_ configuration: Configuration, log: Logger) throws {
        self.log = log
        func role(_ name: String, _ wanted: [PrefixedAddress]) throws -> RoleAddresses {
            let addresses = try wanted.map { address in
                guard let virtual = VirtualAddress("\(address.address)/\(address.prefix)") else {
                    throw CommandFailure.failed("\(address) cannot be a virtual address")
                }
                return virtual
            }
            // A neighbour on the segment answers within a millisecond; readers wait for this whenever the standby address moves.
            return try RoleAddresses(
                interface: configuration.virtualAddresses.interface, addresses: addresses, probePatience: .milliseconds(50)
            ) { event in
                switch event {
                case .conflict(let address, let mac):
                    log.error(
                        "another machine answers for an address of ours; it is announced again",
                        metadata: ["role": "\(name)", "address": "\(address)", "mac": "\(mac)"])
                case .announcingFails(let error):
                    log.warning("an address cannot be announced", metadata: ["role": "\(name)", "reason": "\(error)"])
                }
            }
        }
        primary = try role("primary", configuration.virtualAddresses.primary)
        standby = try role("standby", configuration.virtualAddresses.standby)
        let seconds = configuration.timing.lease.components.seconds + 2
        cautious = configuration.arbiter.kind.lends ? .seconds(seconds) : nil
        var left: Set<AddressRole> = []
        if try !primary.held().isEmpty { left.insert(.primary) }
        if try !standby.held().isEmpty { left.insert(.standby) }
        beats.withLock { $0.adopted = left }
    }

    private subscript(role: AddressRole) -> RoleAddresses { role == .primary ? primary : standby }

    func claim(_ role: AddressRole, regardless: Bool) throws {
        let lifetime = beats.withLock { $0.lifetime(role) }
        let report = try self[role].claim(
            probing: true, takeRegardless: regardless, lifetime: lifetime.map(Self.duration) ?? cautious)
        if let lifetime { beats.withLock { $0.told[role] = (lifetime, SystemClock.now()) } }
        guard report.taken else {
            let owners = report.owners.map { "\($0.key) at \($0.value)" }.sorted().joined(separator: ", ")
            throw CommandFailure.failed("another machine answers for it (\(owners)); it is asked again until it is silent")
        }
        if !report.added.isEmpty {
            log.info("address taken", metadata: ["role": "\(role.rawValue)", "addresses": "\(report.added.map(\.description))"])
        }
        // The others serve meanwhile; this one is tried again after a pause.
        if let (address, error) = report.failed.min(by: { $0.key.description < $1.key.description }) {
            throw CommandFailure.failed("\(address) could not be taken: \(error)")
        }
    }

    func release(_ role: AddressRole) throws {
        beats.withLock { _ = $0.adopted.remove(role) }
        let report = try self[role].release()
        if let refused = report.endingRefused {
            log.warning("sessions could not be ended before the address went", metadata: ["reason": "\(refused)"])
        }
        if !report.removed.isEmpty {
            log.info(
                "address given up",
                metadata: [
                    "role": "\(role.rawValue)", "addresses": "\(report.removed.map(\.description))",
                    "ended sessions": "\(report.endedSessions)",
                ])
        }
    }

    func beat(_ lifetimes: AddressLifetimes) {
        let isDue = beats.withLock { beats in
            beats.wanted = lifetimes
            let now = SystemClock.now()
            guard !beats.isQueued,
                [.primary, .standby].contains(where: { (self[$0].isHeld || beats.adopted.contains($0)) && beats.isDue($0, now) })
            else {
                return false
            }
            beats.isQueued = true
            return true
        }
        guard isDue else { return }
        beatLane.submit { [self] in
            beats.withLock { $0.isQueued = false }
            let adopted = beats.withLock { $0.adopted }
            for role in [AddressRole.primary, .standby] where self[role].isHeld || adopted.contains(role) { renew(role) }
        }
    }

    private func renew(_ role: AddressRole) {
        let now = SystemClock.now()
        guard let lifetime = beats.withLock({ $0.isDue(role, now) ? $0.lifetime(role) : nil }) else { return }
        do {
            _ = try self[role].renew(lifetime: Self.duration(lifetime))
            beats.withLock { $0.told[role] = (lifetime, now) }
        } catch {
            log.warning(
                "the lifetime of an address could not be renewed", metadata: ["role": "\(role.rawValue)", "reason": "\(error)"])
        }
    }

    private static func duration(_ lifetime: AddressLifetimes.Lifetime) -> Duration? {
        switch lifetime {
        case .unlimited: nil
        case .seconds(let seconds): .seconds(seconds)
        }
    }

    func tellHeld(_ tell: (Event.Held) -> Void) throws {
        try telling.withLock { _ in tell(try held()) }
    }

    private func held() throws -> Event.Held {
        func extent(_ addresses: RoleAddresses) throws -> Event.Extent {
            let count = try addresses.held().count
            return count == 0 ? .none : count == addresses.addresses.count ? .all : .some
        }
        return Event.Held(primary: try extent(primary), standby: try extent(standby))
    }
}
