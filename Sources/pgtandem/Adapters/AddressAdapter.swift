import Logging
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
    }

    private subscript(role: AddressRole) -> RoleAddresses { role == .primary ? primary : standby }

    func claim(_ role: AddressRole, regardless: Bool) throws {
        let report = try self[role].claim(probing: true, takeRegardless: regardless)
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

    func held() throws -> Event.Held {
        func extent(_ addresses: RoleAddresses) throws -> Event.Extent {
            let count = try addresses.held().count
            return count == 0 ? .none : count == addresses.addresses.count ? .all : .some
        }
        return Event.Held(primary: try extent(primary), standby: try extent(standby))
    }
}
