import TandemCore

extension World {
    func index(_ from: Party, _ to: Party) -> Int { from.rawValue * 3 + to.rawValue }
    /// Whatever one says, the other hears soon.
    func isClear(_ one: Party, _ other: Party) -> Bool {
        [links[index(one, other)], links[index(other, one)]].allSatisfy {
            $0.cuts == 0 && $0.stalls == 0 && $0.loss == 0 && $0.late == .zero && $0.slow == .zero
        }
    }
    func isCut(_ from: Party, _ to: Party) -> Bool { links[index(from, to)].cuts > 0 }

    func send(_ packet: Packet, from: Party, to: Party) {
        let link = links[index(from, to)]
        guard link.cuts == 0 else { return }
        if link.loss > 0, random.chance(permille: link.loss) { return }
        if link.stalls > 0 {
            links[index(from, to)].held.append(packet)
            return
        }
        let copies = link.twice > 0 && random.chance(permille: link.twice) ? 2 : 1
        for _ in 0..<copies {
            var delay = Duration.microseconds(random.between(100, 1500))
            if link.slow > .zero { delay += link.slow }
            if link.late > .zero { delay += random.span(.zero, link.late) }
            later(delay, .arrive(packet, from: from, to: to))
        }
    }

    /// Greetings both ways, with the other host and with the witness.
    func greet(_ host: SimHost) {
        let peer = other(host)
        if host.agentActs, peer.agentActs {
            send(.hello(host.sessionID), from: host.party, to: peer.party)
            send(.hello(peer.sessionID), from: peer.party, to: host.party)
            compareConfigurations()
        }
        if host.agentActs, witness.isRunning {
            send(.hello(host.sessionID), from: host.party, to: .witness)
            send(.hello(witness.machine.session), from: .witness, to: host.party)
        }
    }

    /// By digest, with each greeting.
    private func compareConfigurations() {
        let (one, other) = (a.node.policy, b.node.policy)
        let differ = one.arbiter != other.arbiter || one.timing != other.timing
        for host in hosts where host.agentActs { tell(host, .configurationsCompared(differing: differ ? ["arbiter"] : [])) }
    }

    func arrive(_ packet: Packet, from: Party, to: Party) {
        // Cut while it was on its way: it was in the cable.
        guard !isCut(from, to) else { return }
        if to == .witness { return witnessHears(packet, from: from) }
        let host = host(to)
        guard host.agentRuns else { return }
        switch packet {
        case .hello(let session): tell(host, from == .witness ? .witnessHello(session: session) : .hello(session: session))
        case .heartbeat(let heartbeat, let header): tell(host, .heartbeat(heartbeat, header))
        case .answer(let answer, let header): tell(host, .witness(answer, header))
        case .request: break
        }
    }
}
