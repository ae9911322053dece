import TandemCore
import TandemWire

/// What a node sees of the others, and whether a failover would succeed: told where it changes. Why something did not happen stands in no
/// decision.
struct ReplaySight: Sendable {
    private var hearsPeer: Bool?
    private var hearsWitness: Bool?
    private var readiness: [String]?
    private var remarks: [String] = []

    mutating func changes(_ node: Node, at now: Instant) -> [ReplayDecision] {
        [peer(node, at: now), witness(node, at: now), readiness(node, at: now)].compactMap { $0 } + newRemarks(node, at: now)
    }

    /// What a node that serves nothing waits for.
    private mutating func newRemarks(_ node: Node, at now: Instant) -> [ReplayDecision] {
        switch node.state {
        case .waiting, .halted: break
        case .standby, .promoting, .primary, .handingOver, .stopping:
            remarks = []
            return []
        }
        let all = node.remarks(at: now)
        defer { remarks = all }
        return all.filter { !remarks.contains($0) }.map { ReplayDecision(kind: "remark", text: $0) }
    }

    private mutating func peer(_ node: Node, at now: Instant) -> ReplayDecision? {
        // Not heard yet is no change.
        guard node.peer.heardAt != nil || hearsPeer != nil else { return nil }
        let hears = node.peer.isHeard(within: node.policy.silence, at: now)
        defer { hearsPeer = hears }
        guard hearsPeer != hears else { return nil }
        let other = node.policy.peer
        guard !hears else { return ReplayDecision(kind: "peer", text: "\(other) is heard") }
        let silence = node.peer.silence(at: now).map { "for \($0.text)" } ?? "in its present session"
        return ReplayDecision(kind: "peer", text: "\(other) was not heard \(silence): \(consequence(node))")
    }

    /// Of silence alone.
    private func consequence(_ node: Node) -> String {
        guard let ledger = node.ledger, ledger.bond == .paired else { return "by its ledger, this node need not care" }
        switch (node.state, ledger.arbiter) {
        case (.standby, .manual): return "that promotes nobody; a person who knows that it is off may say so"
        case (.standby, .witness):
            return "the witness is asked for the role, as soon as the promise to \(node.policy.peer) is over"
        case (.primary, .manual): return "it may still be promoted by a person, so commits wait for it in synchronous mode"
        case (.primary, .witness): return "the witness is asked to let this node go on alone"
        case (.waiting, _), (.promoting, _), (.handingOver, _), (.stopping, _), (.halted, _):
            return "this node is \(node.state.name)"
        }
    }

    private mutating func witness(_ node: Node, at now: Instant) -> ReplayDecision? {
        guard node.ledger?.arbiter == .witness, node.arbiter.heardAt != nil else { return nil }
        // A standby that hears its primary asks only every few heartbeats.
        let hears = node.arbiter.isHeard(within: node.policy.heartbeat * 10, at: now)
        defer { hearsWitness = hears }
        guard hearsWitness != hears else { return nil }
        return ReplayDecision(
            kind: "witness",
            text: hears ? "the witness is heard" : "the witness was not heard for \((node.policy.heartbeat * 10).text)")
    }

    private mutating func readiness(_ node: Node, at now: Instant) -> ReplayDecision? {
        let reasons: [RefusalNote]
        let text: String
        switch node.state {
        case .standby where node.ledger?.arbiter == .witness:
            reasons = node.mayClaim(at: now).refusals.map(\.note)
            text =
                reasons.isEmpty ? "this node may ask the witness for the role" : "this node may not ask the witness for the role"
        case .standby:
            reasons = node.failoverReadiness(at: now)
            text = reasons.isEmpty ? "this node could take over" : "this node could not take over"
        case .primary:
            reasons = node.failoverReadiness(at: now)
            text = reasons.isEmpty ? "\(node.policy.peer) could take over" : "\(node.policy.peer) could not take over"
        case .waiting, .promoting, .handingOver, .stopping, .halted: return nil
        }
        let codes = reasons.map(\.code)
        defer { readiness = codes }
        guard readiness != codes else { return nil }
        return ReplayDecision(kind: "readiness", text: text, reasons: reasons.isEmpty ? nil : reasons.map(NoteDocument.init))
    }
}
