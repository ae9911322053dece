/// The answer of a rule, with what it rests on: log line, field of the status document, line of the CLI and message of a failing
/// test use the same words.
public enum Verdict: Hashable, Sendable, Codable {
    case go
    case no([Refusal])

    public var isGo: Bool { self == .go }
    public var refusals: [Refusal] {
        switch self {
        case .go: []
        case .no(let refusals): refusals
        }
    }
    init(_ refusals: [Refusal]) { self = refusals.isEmpty ? .go : .no(refusals) }
}

/// One reason why something may not happen now, with the numbers inside.
public enum Refusal: Hashable, Sendable, Codable {
    case noLedger
    case notPrimary(Role)
    case notPaired(Ledger)
    case otherCopy(ledger: CopyID?, here: CopyID?)
    case postgresNotReady(String)
    case notStreaming
    case delayed
    /// Replay is paused: nothing that it receives is seen there, and a promotion may wait for ever.
    case replayPaused
    case settingsTooLow([String])
    case configurationsDiffer([String])
    case behind(by: UInt64, limit: UInt64)
    case tooOld(age: Duration, limit: Duration)
    case lagUnknown
    case peerHeard(ago: Duration)
    case peerSilent(Duration?)
    case peerLeaving
    case notToldPairedSinceBoot
    /// The promise not to support another primary, the standby itself included, still holds (3.1).
    case promised(Duration)
    case gatewaySilent(Duration)
    case recordNewer(Ledger)
    case arbiterDecides
    case arbiterSilent
    /// Of a standby: nobody could grant it the role now.
    case witnessSilent(Duration?)
    /// Of a standby: the witness answers, and has no record of the pair, so it grants nothing (3.3).
    case recordLost
    case frameChanges
    case namesOverridden(String)
    case otherSystem(here: UInt64, there: UInt64)
    case otherVersion(here: Int, there: Int)
    /// Of a standby that has booted beside its primary: that one is coming up, and may have what this one never got (S4).
    case primaryStarts(Duration)
    case busy(String)
    /// What is written here is not safe, or cannot be written; `well`: for so long it has been again, which is not long enough.
    case storage(Storage, well: Duration?)
    /// By the configuration, this node is not to be primary.
    case barred
    /// A person has to decide about the directory here (section 6).
    case cannotRejoin(String)
    case contradiction(Ledger, Ledger)
    /// The peer said so itself; its words.
    case peerSays(RefusalNote)

    /// Every code that a node makes by itself.
    public static let codes = [
        "noLedger", "notPrimary", "notPaired", "otherCopy", "postgresNotReady", "notStreaming", "delayed", "replayPaused",
        "settingsTooLow", "configurationsDiffer", "behind", "tooOld", "lagUnknown", "peerHeard", "peerSilent", "peerLeaving",
        "notToldPairedSinceBoot",
        "promised", "gatewaySilent", "recordNewer", "arbiterDecides", "arbiterSilent", "witnessSilent", "recordLost",
        "namesOverridden",
        "otherSystem",
        "otherVersion", "primaryStarts", "busy", "storage", "barred", "cannotRejoin",
        "contradiction",
    ]

    /// Of these a standby says what only a promotion without the primary needs: a handover asks nobody (4.4).
    static let ofTheArbiter: Set<String> = ["witnessSilent", "recordLost", "primaryStarts"]
    var isOfTheArbiter: Bool { Self.ofTheArbiter.contains(code) }

    /// Stable, for scripts: never changed once it stands in a release.
    public var code: String {
        switch self {
        case .noLedger: "noLedger"
        case .notPrimary: "notPrimary"
        case .notPaired: "notPaired"
        case .otherCopy: "otherCopy"
        case .postgresNotReady: "postgresNotReady"
        case .notStreaming: "notStreaming"
        case .delayed: "delayed"
        case .replayPaused: "replayPaused"
        case .settingsTooLow: "settingsTooLow"
        case .configurationsDiffer: "configurationsDiffer"
        case .behind: "behind"
        case .tooOld: "tooOld"
        case .lagUnknown: "lagUnknown"
        case .peerHeard: "peerHeard"
        case .peerSilent: "peerSilent"
        case .peerLeaving: "peerLeaving"
        case .notToldPairedSinceBoot: "notToldPairedSinceBoot"
        case .promised: "promised"
        case .gatewaySilent: "gatewaySilent"
        case .recordNewer: "recordNewer"
        case .arbiterDecides: "arbiterDecides"
        case .arbiterSilent: "arbiterSilent"
        case .witnessSilent: "witnessSilent"
        case .recordLost: "recordLost"
        case .frameChanges: "frameChanges"
        case .namesOverridden: "namesOverridden"
        case .otherSystem: "otherSystem"
        case .otherVersion: "otherVersion"
        case .primaryStarts: "primaryStarts"
        case .busy: "busy"
        case .storage: "storage"
        case .barred: "barred"
        case .cannotRejoin: "cannotRejoin"
        case .contradiction: "contradiction"
        case .peerSays(let note): note.code
        }
    }

    public var text: String {
        switch self {
        case .noLedger: "this node has no ledger: run `pgtandem init` or `pgtandem join` here first"
        case .notPrimary(let role): "this node's role is \(role.rawValue), not primary"
        case .notPaired(let ledger):
            "the bond is sole \(ledger): the standby may lack acknowledged commits, so nothing promotes it"
        case .otherCopy(let ledger, let here):
            "the data directory here (copy \(here?.text.prefix(8) ?? "unknown")) is not the one that the ledger names"
                + " (\(ledger?.text.prefix(8) ?? "none")): put that one back in its place, or, if the other host has the data, move this one away and"
                + " run `pgtandem join` here"
        case .postgresNotReady(let what): "PostgreSQL is not ready: \(what)"
        case .notStreaming: "the standby receives no WAL stream"
        case .delayed:
            "the standby is delayed on purpose: to make it eligible, ALTER SYSTEM RESET recovery_min_apply_delay there, or take it out of the"
                + " configuration, and reload"
        case .replayPaused: "replay is paused on the standby: run `select pg_wal_replay_resume()` there"
        case .settingsTooLow(let names):
            "\(names.joined(separator: ", ")) lower on the standby than on the primary: a promotion would kill the server, and replay may pause;"
                + " raise it there and restart PostgreSQL there"
        case .configurationsDiffer(let keys): "the configurations of the hosts differ in \(keys.joined(separator: ", "))"
        case .behind(let bytes, let limit): "the standby is \(bytes) bytes behind; the limit is \(limit)"
        case .tooOld(let age, let limit): "the standby's data is \(age.text) old; the limit is \(limit.text)"
        case .lagUnknown: "how far the standby is behind is not known"
        case .peerHeard(let ago): "the other host was heard \(ago.text) ago: it is not down; use `pgtandem switchover`"
        case .peerSilent(let ago):
            ago.map { "nothing was heard from the other host for \($0.text)" } ?? "the other host was not heard yet"
        case .peerLeaving: "the other host's agent is stopping"
        case .notToldPairedSinceBoot:
            "this host has booted since the other one last said that they are paired: it may have gone on alone since. If it is off for good,"
                + " and what it wrote alone may be lost: `pgtandem failover --peer-is-down --accept-data-loss`"
        case .promised(let left): "the primary was supported a moment ago, and the promise holds for another \(left.text)"
        case .gatewaySilent(let span): "the gateway has not answered this host for \(span.text)"
        case .recordNewer(let record): "the arbiter's record \(record) is newer than the ledger here"
        case .arbiterDecides:
            "the witness answers, so it decides, without a person: the standby is promoted as soon as it may be. What it waits for stands in"
                + " `pgtandem status`"
        case .arbiterSilent:
            "the witness cannot be reached: it may have let the other node go on alone, with commits that this one does not have. If the other"
                + " host is off and stays off, and these commits may be lost: `pgtandem failover --peer-is-down --accept-data-loss`"
        case .witnessSilent(let span):
            (span.map { "the witness has not answered for \($0.text)" } ?? "the witness has not answered yet")
                + ": without it nothing is promoted when the primary's host is lost"
        case .recordLost:
            "the witness has no record of this pair, and grants nothing until both nodes have written it anew, which they do by themselves as"
                + " soon as both reach it"
        case .frameChanges: "the configurations name another arbiter, or another lease, which are taken up while the bond is sole"
        case .namesOverridden(let names):
            "synchronous_standby_names is overridden (`\(names)`), so commits do not wait for the other node: ALTER SYSTEM RESET"
                + " synchronous_standby_names, or take it out of the configuration"
        case .otherSystem(let here, let there):
            "the hosts hold different databases: system identifier \(here) here, \(there) there"
        case .otherVersion(let here, let there): "PostgreSQL \(here) here, \(there) there: a pair needs one major version"
        case .primaryStarts(let span):
            "the primary's host answers, and its PostgreSQL is on its way up (for \(span.text) now): what it committed last may be only there"
        case .busy(let what): what
        case .storage(let state, nil): "storage: \(state.text ?? state.word)"
        case .storage(let state, let well?):
            "storage: it is well again, for \(well.text) now, which is too short to be trusted; before: \(state.text ?? state.word)"
        case .barred: "this node is barred from being primary by the configuration (`barred_primary`)"
        case .cannotRejoin(let why): "this node cannot come back as standby by itself: \(why)"
        case .contradiction(let mine, let theirs):
            "two different ledgers carry the same term and step: \(mine) here, \(theirs) there; a person must decide which host's data stands"
        case .peerSays(let note): note.text
        }
    }

    /// A reason that no person's word removes (4.3): the instance could not be promoted, or it would be the wrong one.
    var isBeyondWords: Bool {
        switch self {
        case .noLedger, .notPrimary, .postgresNotReady, .settingsTooLow, .otherSystem, .otherVersion, .peerHeard, .busy, .storage,
            .cannotRejoin, .contradiction:
            true
        case .notPaired, .otherCopy, .notStreaming, .delayed, .replayPaused, .configurationsDiffer, .behind, .tooOld, .lagUnknown,
            .peerSilent,
            .peerLeaving, .notToldPairedSinceBoot, .namesOverridden, .promised, .gatewaySilent, .recordNewer, .arbiterDecides,
            .arbiterSilent, .witnessSilent, .recordLost, .frameChanges, .barred, .primaryStarts, .peerSays:
            false
        }
    }

    public var note: RefusalNote { RefusalNote(code: code, text: text) }
}

/// A refusal in the form in which it leaves the node that made it.
public struct RefusalNote: Hashable, Sendable, Codable {
    public var code: String
    public var text: String
    public init(code: String, text: String) {
        self.code = code
        self.text = text
    }
}
