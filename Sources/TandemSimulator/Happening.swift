import TandemCore

/// Who: the two hosts and the witness.
package enum Party: Int, Hashable, Sendable, Codable, CaseIterable, CustomStringConvertible {
    case a, b, witness
    package var description: String {
        switch self {
        case .a: "a"
        case .b: "b"
        case .witness: "witness"
        }
    }
    /// The node of that name.
    var node: NodeName { NodeName(description) }
}

/// One thing that will happen in the world.
enum Happening {
    case tick(Party, run: Int)
    case observe(Party, run: Int)
    /// A fact for an agent.
    indirect case event(Party, run: Int, Event)
    /// An effect that an agent ordered is done now.
    indirect case effect(Party, run: Int, Effect, again: Bool)
    indirect case arrive(Packet, from: Party, to: Party)
    indirect case witnessPersists(Ledger, run: Int)
    case guardLooks(Party, life: Int)
    case guardActs(Party, life: Int)
    case write
    case stream
    case instanceIsUp(Party, start: Int)
    case orphansEnd(Party, start: Int)
    /// PostgreSQL finds that it cannot write.
    case panics(Party, start: Int)
    case namesTakeEffect(Party, start: Int)
    case startAgent(Party)
    case lastAct(Party)
    case guardRestarts(Party)
    case boot(Party)
    case thaw(Party)
    case startWitness
    indirect case begin(Fault)
    indirect case end(Fault)
    case join(Party)
    case word(Party, acceptDataLoss: Bool)
}

enum Packet {
    case hello(SessionID)
    indirect case heartbeat(Heartbeat, Heartbeat.Header)
    indirect case request(WitnessRequest, Heartbeat.Header)
    indirect case answer(WitnessAnswer, Heartbeat.Header)
}
