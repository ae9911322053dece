import Glibc
import Synchronization
import TandemSystem

/// What happens around addresses that are held, told from a thread of its own.
public enum AddressEvent: Sendable, Equatable {
    /// Another host's card claims an address that we hold. It is answered by announcing again; told at most once in five
    /// seconds for the same address and card.
    case conflict(IPAddress, MACAddress)
    /// Announcing or listening fails (link down, capability lost); it is tried again. Told at most once in 30 s.
    case announcingFails(SystemError)
}

/// What `RoleAddresses.claim` did.
public struct ClaimReport: Sendable, Equatable {
    /// False: somebody else has one of them, and nothing was added.
    public var taken: Bool
    /// Those that this call added; the others were there already.
    public var added: [VirtualAddress] = []
    /// Those that could not be added although another one could, and why; `repair` tries again. Only when taken
    /// regardless: half of a primary's addresses serve more clients than none.
    public var failed: [VirtualAddress: SystemError] = [:]
    /// Who answered the probe, when the addresses were not to be taken regardless.
    public var owners: [IPAddress: MACAddress] = [:]
    /// Why the probe or the first announcement was not made, though the addresses are taken: clients and routers may
    /// look for them at the old host until it goes out; the repetitions go on trying.
    public var silent: SystemError?
}

/// What `RoleAddresses.release` did.
public struct ReleaseReport: Sendable, Equatable {
    /// Those that were there and are removed.
    public var removed: [VirtualAddress] = []
    /// Client connections that were ended before.
    public var endedSessions = 0
    /// Why the kernel did not end them (EPERM, EOPNOTSUPP): such clients see silence until their own time-out.
    public var endingRefused: SystemError?
    /// Still on another interface of this host, where we never put it: somebody configured it there.
    public var elsewhere: [IPAddress: String] = [:]
}

/// What `RoleAddresses.repair` did.
public struct AddressRepair: Sendable, Equatable {
    /// Those that were missing and are back.
    public var added: [VirtualAddress] = []
    /// Announced again: something was missing, or the link came back.
    public var announced = false
}

/// The addresses of one role (protocol.md, 7) on one interface. Calls block for microseconds to milliseconds, a probe for
/// its patience, and follow one another. It is made and called in one network namespace.
public final class RoleAddresses: Sendable {
    public let interface: String
    public let addresses: [VirtualAddress]
    private let probePatience: Duration
    private let onEvent: @Sendable (AddressEvent) -> Void
    private let table: AddressTable
    private let voice: Voice
    private let sockets: LocalSockets
    private let state = Mutex(State())
    /// Beside the state, which is locked for as long as a call runs.
    private let holding = Atomic(false)

    private struct State {
        /// Announces and listens while we hold them; nil: we do not.
        var keeper: AddressKeeper?
        var hadCarrier = true
        /// What the last claim or renewal gave them.
        var lifetime: Duration?
    }

    /// The interface need not exist yet; nothing is touched.
    /// - Parameter probePatience: how long a probe waits for an answer, at 100 ms a host that lives on the segment has
    ///   long answered.
    public init(
        interface: String, addresses: [VirtualAddress], probePatience: Duration = .milliseconds(100),
        onEvent: @escaping @Sendable (AddressEvent) -> Void
    ) throws(SystemError) {
        self.interface = interface
        self.addresses = addresses
        self.probePatience = probePatience
        self.onEvent = onEvent
        table = try AddressTable(interface: interface)
        voice = Voice(table: table)
        sockets = try LocalSockets()
    }

    deinit { state.withLock { $0.keeper?.stop() } }

    /// True between a claim that took them and a release. Whether the kernel has them is told by `held()`.
    public var isHeld: Bool { holding.load(ordering: .acquiring) }

    /// Those that the interface has just now.
    public func held() throws(SystemError) -> [VirtualAddress] {
        try table.held(of: addresses)
    }

    /// Takes the addresses, announces them at once, after 100 ms, 300 ms, 1 s and 2 s, then every 30 s while they are
    /// held. Again while they are held: puts back what is missing and announces.
    /// - Parameters:
    ///   - probing: asks the segment first.
    ///   - takeRegardless: with authority (the primary's address): an answer does not stop the taking. Nothing waits for
    ///     answers; they come as `.conflict` events. Without it (the standby's address) an answer within `probePatience`
    ///     means that nothing is taken.
    ///   - lifetime: whole seconds, rounded up; the kernel removes them by itself when it is over and they were not renewed, even if all
    ///     of ours is dead. Also for those that are there already. Nil: they stay.
    /// - Throws: when no address could be added, or, not regardless, when one could not; those added by this call are
    ///   removed again.
    public func claim(
        probing: Bool, takeRegardless: Bool, lifetime: Duration? = nil
    ) throws(SystemError) -> ClaimReport {
        try locked { state throws(SystemError) in
            var report = ClaimReport(taken: true)
            let wanted = addresses.map(\.address)
            if probing, !takeRegardless {
                let claims = try DuplicateProbe.owners(of: wanted, table: table, patience: probePatience)
                for claim in claims { report.owners[claim.address] = claim.mac }
                if !claims.isEmpty {
                    report.taken = false
                    // Somebody took them off this interface: to go on announcing what another machine has would draw its clients here.
                    if try table.held(of: addresses).isEmpty {
                        state.keeper?.stop()
                        state.keeper = nil
                        holding.store(false, ordering: .releasing)
                    }
                    return report
                }
            }
            // Listens before the probe is sent, so that no answer is missed.
            let keeper =
                if let running = state.keeper { running } else {
                    try AddressKeeper(table: table, voice: voice, addresses: wanted, onEvent: onEvent)
                }
            if probing, takeRegardless { report.silent = keeper.probe() }
            // Else one that is about to vanish would do so in spite of this.
            _ = try table.renew(addresses, lifetimeSeconds: lifetime?.wholeSeconds)
            let outcome = addMissing(lifetime)
            report.added = outcome.added
            report.failed = outcome.failed
            if let failure = outcome.failed.first?.value, !takeRegardless || outcome.failed.count == addresses.count {
                if state.keeper == nil { keeper.stop() }
                undo(outcome.added)
                throw failure
            }
            // An answer to the first question that came before the address was back is not heard as a conflict: what is not here is rightly
            // another's. So it is asked once more.
            if probing, takeRegardless, let failure = keeper.probe() { report.silent = failure }
            if let failure = keeper.announceNow() { report.silent = failure }
            state.keeper = keeper
            holding.store(true, ordering: .releasing)
            state.hadCarrier = true
            state.lifetime = lifetime
            return report
        }
    }

    /// Gives them up: no more announcements, client connections end, then the addresses go. Also when they were never
    /// claimed: what an earlier run left behind goes away.
    /// - Throws: when an address could not be removed; it was tried for every one, and `isHeld` is false.
    public func release() throws(SystemError) -> ReleaseReport {
        try locked { state throws(SystemError) in
            state.keeper?.stop()
            state.keeper = nil
            holding.store(false, ordering: .releasing)
            var report = ReleaseReport()
            let wanted = addresses.map(\.address)
            // Before the address goes: the reset must still leave with it as its source.
            endSessions(wanted, &report)
            var failure: SystemError?
            for address in addresses {
                do throws(SystemError) {
                    if try table.remove(address) { report.removed.append(address) }
                } catch {
                    failure = failure ?? error
                }
            }
            if let failure { throw failure }
            // Those that connected in between hang on an address that is gone.
            endSessions(wanted, &report)
            for address in wanted { report.elsewhere[address] = try table.holder(of: address) }
            return report
        }
    }

    /// Puts back what somebody removed, while they are held; announces if something was missing or the link came back.
    /// Cheap enough for every heartbeat.
    /// - Throws: ENODEV while the interface is gone; EPERM without CAP_NET_ADMIN.
    public func repair() throws(SystemError) -> AddressRepair {
        try locked { state throws(SystemError) in
            guard let keeper = state.keeper else { return AddressRepair() }
            let facts = try table.requireFacts("keep addresses")
            let linkCameBack = facts.hasCarrier && !state.hadCarrier
            state.hadCarrier = facts.hasCarrier
            let outcome = addMissing(state.lifetime)
            var repair = AddressRepair(added: outcome.added)
            if !repair.added.isEmpty || linkCameBack { repair.announced = keeper.announceNow() == nil }
            if repair.added.isEmpty, let failure = outcome.failed.first?.value { throw failure }
            return repair
        }
    }

    /// Those that the interface has get this lifetime from now on: leased ones again and again, and both ways when a lease begins to be
    /// needed, or ends to be. None is added: what somebody removed, or what has vanished, stays away. It sends no announcement; the
    /// kernel tells watchers of the interface that something was renewed.
    /// - Parameter lifetime: whole seconds, rounded up; nil: they stay.
    /// - Returns: those that have it now.
    @discardableResult
    public func renew(lifetime: Duration?) throws(SystemError) -> [VirtualAddress] {
        try locked { state throws(SystemError) in
            state.lifetime = lifetime
            return try table.renew(addresses, lifetimeSeconds: lifetime?.wholeSeconds)
        }
    }

    private func addMissing(_ lifetime: Duration?) -> (added: [VirtualAddress], failed: [VirtualAddress: SystemError]) {
        var added: [VirtualAddress] = []
        var failed: [VirtualAddress: SystemError] = [:]
        for address in addresses {
            do throws(SystemError) {
                guard try table.held(of: [address]).isEmpty else { continue }
                try table.add(address, lifetimeSeconds: lifetime?.wholeSeconds)
                added.append(address)
            } catch {
                failed[address] = error
            }
        }
        return (added, failed)
    }

    private func undo(_ added: [VirtualAddress]) {
        for address in added {
            do throws(SystemError) {
                try table.remove(address)
            } catch {
                // The first error is the one to tell; the caller releases after a failed claim.
                continue
            }
        }
    }

    private func endSessions(_ wanted: [IPAddress], _ report: inout ReleaseReport) {
        let outcome = sockets.end(withLocal: wanted)
        report.endedSessions += outcome.ended
        report.endingRefused = report.endingRefused ?? outcome.refused
    }

    /// Mutex.withLock with a typed error.
    private func locked<Value: Sendable>(
        _ body: (inout State) throws(SystemError) -> Value
    ) throws(SystemError) -> Value {
        let outcome: Result<Value, SystemError> = state.withLock { state in
            do throws(SystemError) {
                return .success(try body(&state))
            } catch {
                return .failure(error)
            }
        }
        return try outcome.get()
    }
}

extension Duration {
    /// As the kernel takes it: at least one, and less than for ever.
    var wholeSeconds: UInt32 {
        let (seconds, attoseconds) = components
        return UInt32(clamping: min(Int64(UInt32.max) - 1, max(1, seconds + (attoseconds > 0 ? 1 : 0))))
    }
}
