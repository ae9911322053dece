import TandemCore

/// One trouble of a plan: what, where, when, for how long.
package struct Fault: Hashable, Sendable, Codable, CustomStringConvertible {
    package var id: Int
    package var at: Duration
    package var lasts: Duration
    package var kind: Kind

    package init(id: Int = 0, at: Duration, lasts: Duration = .zero, kind: Kind) {
        self.id = id
        self.at = at
        self.lasts = lasts
        self.kind = kind
    }

    package enum Kind: Hashable, Sendable, Codable {
        case cut(Party, Party)
        case cutBoth(Party, Party)
        case isolate(Party)
        /// Messages lost, late, twice, overtaken, in thousandths; and how late at most.
        case badLink(Party, Party, loss: Int, twice: Int, late: Duration)
        /// What is sent meanwhile takes so much longer, each message as much, so none overtakes another.
        case slowLink(Party, Party, by: Duration)
        /// What is sent is held up, and comes all at once at the end, in its order.
        case stall(Party, Party)
        case agentDies(Party)
        case agentHangs(Party)
        case guardDies(Party)
        case agentAndGuardDie(Party)
        case powerOff(Party)
        case bothPowerOff
        case freeze(Party)
        case slew(Party, Int64)
        case postmasterDies(Party, orphans: Bool)
        case postgresHangs(Party)
        case replicaLags(Party)
        case effectsFail(Party, EffectKind, Int)
        case effectsRunTwice(Party, Int)
        case slowDisk(Party)
        case gatewayLost(Party)
        case storageFails(Party, StorageFault)
        case namesOverridden(Party)
        case diskLost(Party)
        case copyReplaced(Party)
        /// For a while; then the right one is put back.
        case copySwapped(Party)
        case ledgerDamaged(Party)
        /// The state directory is gone, the data is not.
        case ledgerLost(Party)
        case witnessDies
        case witnessForgets
        case witnessDiskFull
        // People.
        case switchover(Party)
        case peerIsDown(Party, acceptDataLoss: Bool)
        case pause(Party, maintenance: Bool)
        case resume(Party)
        case agentStopped(Party)
        case promotedByHand(Party)
        case restartedByHand(Party)
        case delayed(Party)
        case replayPaused(Party)
        case settingsLowered(Party)
        case configurationsDiffer
        case anotherDatabase(Party)
        case anotherVersion(Party)
        case addressRemoved(Party)
        case rejoinAsked(Party, fresh: Bool)
        case failbackCancelled(Party)
        /// The night is over: neither rewinds and copies nor failback.
        case windowsClosed
        case frameChanges(ArbiterKind, Timing)
    }

    package var description: String {
        "\(Text.seconds(at.nanoseconds)) s\(lasts > .zero ? " for \(Text.seconds(lasts.nanoseconds)) s" : ""): \(kind.text)"
    }
}

extension Fault.Kind {
    package var text: String {
        switch self {
        case .cut(let from, let to): "what \(from) sends to \(to) is lost"
        case .cutBoth(let one, let other): "\(one) and \(other) are cut apart"
        case .isolate(let party): "\(party) is cut off from everyone"
        case .badLink(let from, let to, let loss, let twice, let late):
            "from \(from) to \(to): \(loss) ‰ lost, \(twice) ‰ twice, up to \(late.text) late"
        case .slowLink(let from, let to, let by): "what \(from) sends to \(to) takes \(by.text) longer"
        case .stall(let from, let to): "what \(from) sends to \(to) is held up"
        case .agentDies(let party): "the agent of \(party) dies"
        case .agentHangs(let party): "the agent of \(party) hangs"
        case .guardDies(let party): "the guard of \(party) dies"
        case .agentAndGuardDie(let party): "agent and guard of \(party) die together"
        case .powerOff(let party): "\(party) loses power"
        case .bothPowerOff: "both hosts lose power"
        case .freeze(let party): "\(party) is frozen"
        case .slew(let party, let rate): "the clock of \(party) is slewed by \(rate) millionths"
        case .postmasterDies(let party, let orphans):
            "the postmaster of \(party) dies\(orphans ? ", and its backends go on" : "")"
        case .postgresHangs(let party): "PostgreSQL of \(party) hangs"
        case .replicaLags(let party): "the replica on \(party) gets WAL slowly"
        case .effectsFail(let party, let kind, let count): "the next \(count) × \(kind.rawValue) on \(party) fail"
        case .effectsRunTwice(let party, let count): "the next \(count) effects on \(party) run twice"
        case .slowDisk(let party): "everything takes ten times as long on \(party)"
        case .gatewayLost(let party): "\(party) loses its gateway"
        case .storageFails(let party, let fault): "the storage of \(party): \(fault.rawValue)"
        case .namesOverridden(let party): "somebody overrides synchronous_standby_names on \(party)"
        case .diskLost(let party): "the data disk of \(party) is lost"
        case .copyReplaced(let party): "another data directory stands in the place of \(party)'s"
        case .copySwapped(let party): "another data directory stands in the place of \(party)'s for a while"
        case .ledgerDamaged(let party): "the ledger of \(party) is damaged"
        case .ledgerLost(let party): "the state directory of \(party) is lost"
        case .witnessDies: "the witness dies"
        case .witnessForgets: "the witness loses its record"
        case .witnessDiskFull: "the witness cannot write"
        case .switchover(let party): "somebody asks for a switchover at \(party)"
        case .peerIsDown(let party, let accept):
            "somebody says at \(party) that the other host is down\(accept ? ", and accepts data loss" : "")"
        case .pause(let party, let maintenance):
            "somebody pauses the pair at \(party)\(maintenance ? " for work on the standby" : "")"
        case .resume(let party): "somebody ends the pause at \(party)"
        case .agentStopped(let party): "the agent of \(party) is told to stop"
        case .promotedByHand(let party): "somebody promotes PostgreSQL on \(party) by hand"
        case .restartedByHand(let party): "somebody restarts PostgreSQL on \(party)"
        case .delayed(let party): "somebody sets recovery_min_apply_delay on \(party)"
        case .replayPaused(let party): "somebody pauses replay on \(party)"
        case .settingsLowered(let party): "somebody lowers max_connections on \(party)"
        case .configurationsDiffer: "the configurations of the hosts differ"
        case .anotherDatabase(let party): "another database stands in the place of \(party)'s"
        case .anotherVersion(let party): "another PostgreSQL version stands in the place of \(party)'s"
        case .rejoinAsked(let party, let fresh): "a person asks \(party) to come back\(fresh ? " by a new copy" : "")"
        case .failbackCancelled(let party): "a person at \(party) says no to the failback"
        case .windowsClosed: "the windows for coming back and for failback close"
        case .addressRemoved(let party): "somebody removes the addresses from \(party)"
        case .frameChanges(let arbiter, let timing):
            "the configurations change: arbiter \(arbiter.rawValue), lease \(timing.lease.text)"
        }
    }
}

enum Text {
    static func seconds(_ nanoseconds: Int64) -> String {
        let ms = nanoseconds / 1_000_000
        let rest = String(ms % 1000)
        return "\(ms / 1000).\(String(repeating: "0", count: 3 - rest.count))\(rest)"
    }
}

extension Duration {
    var nanoseconds: Int64 { Int64(attoseconds / 1_000_000_000) }

    /// As in the core: the library's own takes a hundred times as long.
    static func * (span: Duration, count: Int) -> Duration { Duration(attoseconds: span.attoseconds * Int128(count)) }
}
