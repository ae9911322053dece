import TandemCore

/// The troubles of one seed, made before the run: so each can be left out while the rest stays the same.
package enum Plan {
    /// The setup of a seed.
    package static func setup(_ seed: UInt64) -> Setup {
        var random = Random(seed: seed &* 31 &+ 7)
        let mode: Policy.ReplicationMode = random.chance(75) ? .synchronous : .asynchronous
        let arbiter: ArbiterKind = random.chance(75) ? .witness : .manual
        let timing = random.pick([Timing.standard, .standard, .fast, .relaxed])
        var setup = Setup(mode: mode, arbiter: arbiter, timing: timing)
        if random.chance(15) { setup.preferred = random.pick([.a, .b]) }
        if random.chance(5) { setup.barred = setup.preferred.map { $0 == .a ? .b : .a } ?? random.pick([.a, .b]) }
        return setup
    }

    /// One round of troubles: when, from its beginning, and what.
    package static func faults(_ seed: UInt64, round: Int, _ setup: Setup) -> [Fault] {
        var random = Random(seed: seed &* 1009 &+ UInt64(round) &* 131 &+ 17)
        let lease = setup.timing.lease
        var faults: [Fault] = []
        var at = Duration.milliseconds(random.between(0, 800))
        if random.chance(55) {
            for (number, trouble) in Theme.troubles(&random, setup).enumerated() {
                faults.append(Fault(id: round * 100 + 50 + number, at: trouble.at, lasts: trouble.lasts, kind: trouble.kind))
            }
        }
        let count = faults.isEmpty ? random.between(2, 12) : random.between(0, 4)
        // Troubles that come one on top of the other, or one after the other.
        let pace: Duration = random.pick([.milliseconds(150), lease / 2, lease, lease * 2, .seconds(3)])
        for number in 0..<count {
            let kind = self.kind(&random, setup)
            var lasts = Duration.zero
            if Self.lasts(kind) {
                let around = random.pick([lease / 4, lease / 2, lease, lease + lease / 8, lease * 2, lease * 4])
                lasts = min(random.span(around / 2, around * 2), .seconds(25))
                if case .storageFails = kind { lasts = min(lasts * 4, .seconds(40)) }
                if case .peerIsDown = kind { lasts = max(lasts, .seconds(8)) }
                if case .agentStopped = kind { lasts = max(lasts, .seconds(4)) }
            }
            faults.append(Fault(id: round * 100 + number, at: at, lasts: lasts, kind: kind))
            at += random.span(.zero, pace * 2)
        }
        return faults.sorted { ($0.at, $0.id) < ($1.at, $1.id) }
    }

    private static func lasts(_ kind: Fault.Kind) -> Bool {
        switch kind {
        case .cut, .cutBoth, .isolate, .badLink, .slowLink, .stall, .ledgerLost, .copySwapped, .agentHangs, .powerOff,
            .bothPowerOff,
            .freeze, .slew, .postgresHangs, .replicaLags,
            .slowDisk, .gatewayLost, .storageFails, .namesOverridden, .witnessDies, .witnessForgets, .witnessDiskFull,
            .peerIsDown,
            .agentStopped,
            .effectsFail, .windowsClosed, .delayed, .replayPaused, .settingsLowered, .configurationsDiffer,
            .anotherDatabase, .anotherVersion:
            true
        case .agentDies, .guardDies, .agentAndGuardDie, .postmasterDies, .effectsRunTwice, .diskLost, .copyReplaced,
            .ledgerDamaged,
            .switchover, .pause, .resume, .promotedByHand, .restartedByHand, .addressRemoved, .frameChanges,
            .rejoinAsked, .failbackCancelled:
            false
        }
    }

    private static func kind(_ random: inout Random, _ setup: Setup) -> Fault.Kind {
        let party: Party = random.chance(60) ? .a : .b
        let pairs: [(Party, Party)] = [(.a, .b), (.b, .a), (.a, .witness), (.witness, .a), (.b, .witness), (.witness, .b)]
        let (from, to) = pairs[random.below(pairs.count)]
        let isWitness = setup.arbiter == .witness
        switch random.below(100) {
        case 0..<10: return .cut(from, to)
        case 10..<15: return .cutBoth(from, to)
        case 15..<17: return .stall(from, to)
        case 17..<21: return .isolate(party)
        case 21..<27:
            return .badLink(
                from, to, loss: random.pick([0, 50, 300, 700]), twice: random.pick([0, 100, 500]),
                late: random.pick([.milliseconds(20), setup.timing.lease / 2, setup.timing.lease * 2]))
        case 27..<32: return .agentDies(party)
        case 32..<36: return .agentHangs(party)
        case 36..<38: return .guardDies(party)
        case 38..<40: return .agentAndGuardDie(party)
        case 40..<46: return .powerOff(party)
        case 46..<48: return .bothPowerOff
        case 48..<52: return .freeze(party)
        case 52..<54: return .slew(party, Int64(random.pick([-80_000, -20_000, 20_000, 80_000])))
        case 54..<58: return .postmasterDies(party, orphans: random.chance(50))
        case 58..<59: return .storageFails(party, random.pick(StorageFault.allCases))
        case 59..<61: return .postgresHangs(party)
        case 61..<63: return .replicaLags(party)
        case 63..<67: return .effectsFail(party, random.pick(EffectKind.allCases), random.between(1, 4))
        case 67..<69: return .effectsRunTwice(party, random.between(1, 10))
        case 69..<70: return .slowDisk(party)
        case 70..<71: return .gatewayLost(party)
        case 71..<72: return .namesOverridden(party)
        case 72..<73:
            return random.pick([
                .diskLost(party), .copyReplaced(party), .ledgerDamaged(party), .ledgerLost(party), .copySwapped(party),
                .copySwapped(party),
            ])
        case 73..<77: return isWitness ? .witnessDies : .peerIsDown(party, acceptDataLoss: false)
        case 77..<79: return isWitness ? .witnessForgets : .peerIsDown(party, acceptDataLoss: false)
        case 79..<80: return isWitness ? .witnessDiskFull : .peerIsDown(party, acceptDataLoss: true)
        case 80..<88: return .switchover(party)
        case 88..<90: return .peerIsDown(party, acceptDataLoss: random.chance(30))
        case 90..<93: return .pause(party, maintenance: random.chance(40))
        case 93..<95: return .resume(party)
        case 95..<97: return .agentStopped(party)
        case 97..<98:
            return random.pick([
                .promotedByHand(party), .restartedByHand(party), .restartedByHand(party), .delayed(party),
                .settingsLowered(party), .replayPaused(party),
                .configurationsDiffer, .anotherDatabase(party), .anotherVersion(party),
            ])
        case 98..<99:
            return random.pick([
                .addressRemoved(party), .rejoinAsked(party, fresh: true), .rejoinAsked(party, fresh: random.chance(30)),
                .windowsClosed, setup.preferred == nil ? .addressRemoved(party) : .failbackCancelled(party),
            ])
        default:
            return .frameChanges(
                random.pick([.witness, .witness, .manual]), random.pick([.standard, .fast, .relaxed]))
        }
    }
}
