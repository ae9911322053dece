// Coming back when a person asks for it, and what people are told (section 6).

extension Node {
    /// The primary's host and network have their hours (`rejoin: window`); a person may say otherwise.
    var waitsForWindow: Bool { !windows.rejoin && rejoin.asked == nil }

    /// A person asked: nothing of the primary's may rest on this instance when it is stopped for that, so it steps out of the bond first.
    mutating func mustStopToRejoin(at now: Instant) -> Bool {
        guard let asked = rejoin.asked, case .standby = state, let ledger, ledger.paused == nil, peerServes(at: now) else {
            return false
        }
        if asked == .anyWay, postgres?.isStreaming == true {
            rejoin.asked = nil
            return false
        }
        if ledger.bond == .paired, writing == nil { write(ledger.sole()) }
        return ledger.bond == .sole && writing == nil
    }

    mutating func askRejoin(_ fresh: Bool, _ id: RequestID, at now: Instant) {
        guard case .standby = state, let ledger, let postgres else {
            return refuse(id, [.busy("this node is \(state.name): only a standby can come back; nothing was changed")])
        }
        if ledger.paused != nil {
            return refuse(id, [.busy("the pair is paused, and nothing is changed meanwhile: `pgtandem resume` first")])
        }
        if let way = rejoin.way { return refuse(id, [.busy("it is coming back already, by \(way.text)")]) }
        guard peerServes(at: now) else {
            return refuse(
                id,
                [
                    .busy("\(policy.peer) does not serve as primary, so there is nothing to come back to"),
                    .peerSilent(peer.silence(at: now)),
                ])
        }
        if !fresh, postgres.isStreaming {
            return order(
                .answer(
                    id, .done("\(policy.node) follows \(policy.peer) already; `--fresh` replaces its directory by a new copy")))
        }
        rejoin.asked = fresh ? .fresh : .anyWay
        rejoin.notBefore = nil
        rejoin.failures = 0
        rejoin.failure = nil
        rejoin.refusal = nil
        order(
            .answer(
                id, .done(fresh ? "\(policy.node) gets a new copy of \(policy.peer)'s data" : "\(policy.node) comes back now")))
    }

    /// What a person should know of it.
    var rejoinRemark: String? {
        if waitsForWindow, let survey = rejoin.survey {
            switch survey {
            case .rewind, .copy:
                return "not back yet: waiting for the window of `rejoin:` to open (`pgtandem rejoin` does not wait)"
            case .plain, .refuse: break
            }
        }
        return switch rejoin.way {
        case .rewind: "coming back: this instance is rewound to where the primary's WAL began to differ"
        case .copy: "coming back: a new copy of the primary is made"
        case nil: rejoin.refusal.map { Refusal.cannotRejoin($0).text } ?? rejoin.failure.map { "not back yet: \($0)" }
        }
    }
}
