/// A change of state, with the reason.
public struct Transition: Hashable, Sendable, Codable {
    public var from: State.Kind
    public var to: State.Kind
    public var cause: Cause
    public init(_ from: State.Kind, _ to: State.Kind, _ cause: Cause) {
        self.from = from
        self.to = to
        self.cause = cause
    }
}

/// Why a state was entered.
public enum Cause: String, Hashable, Sendable, Codable, CaseIterable {
    case ledgerNamesTheOther, newerLedger, ownNewerLedger, contradiction
    case otherCopy, copyIsBack
    case mayOpen, adopted, notConfirmed, promoted, restartedAsStandby, recoveryToConfirm
    case granted, word, handoverTaken
    case planned, askedThere, preference, crash, hang, storage, crashLoop, gatewayLost, leaving, handedOver, handoverRefused,
        startedHere, handedBack, handoverLost
    case leaseEnded
    case stopRequested
}

/// Every legal change of state (`docs/state-machine.md` is generated from it). The stories and a fixed corpus of seeds are held against
/// it: one that happens and is not here fails, and so does one that is here and never happens.
public enum TransitionTable {
    public struct Row: Sendable {
        public var transition: Transition
        public var reason: String
        public var section: String
        /// Impossible as long as every rule holds: kept for the day on which one does not, and reached by a story of its own.
        public var isImpossible: Bool { transition.cause == .contradiction }
    }

    public static let rows: [Row] = [
        row(.waiting, .standby, .ledgerNamesTheOther, "the ledger names the other node as primary", "5.4"),
        row(
            .waiting, .waiting, .ownNewerLedger, "a newer ledger of this node's own came from the other node or the arbiter",
            "5.2"),
        row(
            .waiting, .promoting, .mayOpen, "alone by the ledger, or the lease (manual: the other node's word) has come",
            "5.2, 5.3"),
        row(.waiting, .promoting, .notConfirmed, "PostgreSQL was open, but no client could have reached it yet", "5.3"),
        row(.waiting, .primary, .adopted, "only the agent restarted: PostgreSQL, addresses and clients go on", "5.1, 5.3"),
        row(.waiting, .halted, .otherCopy, "the ledger names this node, and another data directory", "5.7"),
        row(.waiting, .halted, .contradiction, "one number, two contents", "5.6"),
        row(.waiting, .stopping, .stopRequested, "the agent was told to stop", "4.4"),

        row(.standby, .waiting, .ownNewerLedger, "a newer ledger names this node after all", "5.2"),
        row(.standby, .promoting, .granted, "the witness granted the role, and the promise to the other node is over", "4.3"),
        row(.standby, .promoting, .word, "a person vouches that the other host is off", "4.3"),
        row(.standby, .promoting, .handoverTaken, "the primary handed over", "4.4"),
        row(.standby, .halted, .contradiction, "one number, two contents", "5.6"),
        row(.standby, .stopping, .stopRequested, "the agent was told to stop", "4.4"),

        row(.promoting, .primary, .promoted, "PostgreSQL accepts writes, and what it shows is confirmed", "4.3, 4.4, 5.3"),
        row(.promoting, .standby, .newerLedger, "a newer ledger names the other node", "5.6"),
        row(.promoting, .waiting, .leaseEnded, "the lease ended before clients were let in", "3.1"),
        row(
            .promoting, .standby, .handoverLost,
            "the host that handed over is gone before all of its WAL was here: the old ledger stands",
            "4.3, 4.4"),
        row(.promoting, .handingOver, .handedBack, "cannot be promoted and never opened: the role goes back", "4.4"),
        row(.promoting, .halted, .otherCopy, "another data directory stands in the place of the primary's", "5.7"),
        row(.promoting, .halted, .contradiction, "one number, two contents", "5.6"),
        row(.promoting, .stopping, .stopRequested, "the agent was told to stop", "4.4"),

        row(.primary, .handingOver, .planned, "a person asked here", "4.4"),
        row(.primary, .handingOver, .askedThere, "a person asked at the standby", "4.4"),
        row(
            .primary, .handingOver, .preference,
            "the other node is the preferred primary, or this one is barred, and everything has been ready for long", "4.4"),
        row(.primary, .handingOver, .crash, "PostgreSQL has ended while this host lives", "4.4"),
        row(.primary, .handingOver, .hang, "PostgreSQL answers nothing while this host lives", "4.4"),
        row(.primary, .handingOver, .storage, "the storage here takes no writes, and this host lives", "4.4"),
        row(.primary, .handingOver, .crashLoop, "PostgreSQL ends again and again here", "4.4"),
        row(.primary, .handingOver, .gatewayLost, "the gateway is lost here and not there", "4.4"),
        row(.primary, .handingOver, .leaving, "the agent was told to stop: the standby takes over first", "4.4"),
        row(
            .primary, .promoting, .restartedAsStandby, "somebody restarted PostgreSQL, and `standby.signal` made a standby of it",
            "9"),
        row(
            .primary, .promoting, .recoveryToConfirm,
            "PostgreSQL has ended, nobody can take over: what its recovery shows must be confirmed", "5.3"),
        row(.primary, .waiting, .leaseEnded, "nobody has promised not to support another primary any more", "3.1"),
        row(.primary, .standby, .newerLedger, "a newer ledger names the other node", "5.6, 6.1"),
        row(.primary, .halted, .otherCopy, "another data directory stands in the place of the primary's", "5.7"),
        row(.primary, .halted, .contradiction, "one number, two contents", "5.6"),
        row(.primary, .stopping, .stopRequested, "the agent was told to stop, and nobody can take over", "4.4"),

        row(.handingOver, .standby, .handedOver, "the other node's ledger is durable here: consent is given", "4.4"),
        row(.handingOver, .standby, .newerLedger, "a newer ledger names the other node", "5.6"),
        row(.handingOver, .primary, .handoverRefused, "the standby is not ready, and nothing was ended yet", "4.4"),
        row(.handingOver, .promoting, .startedHere, "the instance is down and the standby cannot have the role", "5.3"),
        row(.handingOver, .halted, .contradiction, "one number, two contents", "5.6"),
        row(.handingOver, .stopping, .stopRequested, "the agent was told to stop", "4.4"),

        row(.halted, .waiting, .copyIsBack, "the right data directory is back in its place", "5.7"),
        row(.halted, .stopping, .stopRequested, "the agent was told to stop", "4.4"),
    ]

    public static func allows(_ transition: Transition) -> Bool { legal.contains(transition) }

    private static let legal = Set(rows.map(\.transition))

    private static func row(_ from: State.Kind, _ to: State.Kind, _ cause: Cause, _ reason: String, _ section: String) -> Row {
        Row(transition: Transition(from, to, cause), reason: reason, section: section)
    }

    /// The table as a page for people.
    public static var page: String {
        var lines = [
            "# The states of a node", "",
            "Generated from `TandemCore/TransitionTable.swift` (its doc comment says how). The numbers name sections of the specification.",
            "Each row that is not marked is reached by the fixed corpus of seeds of `.ci/run`; the marked ones, by a story of their own.",
            "",
            "| from | to | because | section |", "| --- | --- | --- | --- |",
        ]
        for row in rows {
            let mark = row.isImpossible ? " (impossible while every rule holds)" : ""
            lines.append(
                "| \(row.transition.from.rawValue) | \(row.transition.to.rawValue) | \(row.reason)\(mark) | \(row.section) |")
        }
        return lines.joined(separator: "\n") + "\n"
    }
}
