import TandemCore

/// Troubles that belong together: the ways in which drafts of the protocol went wrong (section 10) need several things to happen in one
/// order, which pure chance hits too seldom. Chance decides the moments.
enum Theme: CaseIterable {
    /// A claim or an answer of the arbiter is on its way while the pair changes (mistakes 1, 22, 23, 25).
    case answerHeldUp
    /// The standby has consented, and the primary says the old thing once more (mistake 2).
    case consentTurnedBack
    /// The role is being handed over, and everybody is cut apart (mistakes 4, 18; 4.4).
    case handoverCut
    /// The standby lags, and takes over; it or its agent goes while the rest of the WAL is still with the old primary (mistake 18; 4.4, 6.3).
    case handoverTail
    /// One person after the other vouches (mistakes 8, 24).
    case twoWords
    /// The standby's directory is another one, and the primary goes (mistake 9).
    case otherCopy
    /// The new primary forgets its ledger, the old one comes back (mistake 10).
    case ledgerless
    /// Acknowledgements that are late, over a boot or not (mistakes 11, 12).
    case lateAcknowledgements
    /// Whoever promised starts anew (mistake 13).
    case promiserRestarts
    /// The arbiter forgets what it decided (mistakes 14, 22).
    case forgottenDecision
    /// The agent hangs just when the bond changes (mistake 16).
    case hangAtPairing
    /// The primary is cut off, and its agent hangs while it asks the standby to step out of the bond (mistake 16).
    case hangWhileParting
    /// The configuration changes, and the primary is cut off (mistake 19).
    case frameCut
    /// A pause, and the standby's yes is lost (mistake 21).
    case pauseCut
    /// The standby is alone, and does not see its gateway either (4.3).
    case standbyWithoutGateway
    /// The standby cannot take what is handed to it, and the role goes back (4.4).
    case handBack
    /// One clock runs slowly while the lease runs out.
    case slowClock
    /// What both others acknowledged is held up, and arrives when they hear the primary no more (mistake 12).
    case acknowledgementsHeldUp
    /// The settings cannot be written while the pair is made whole again, and the primary is cut off (mistake 15).
    case namesFail
    /// The standby takes the role slowly, and nobody hears of it (mistake 4).
    case handoverUnheard
    /// The primary loses one of those who promised shortly after the other (3.1).
    case promisersLostInTurn
    /// The instance crashes with commits that the standby never got, opens by the arbiter's lease alone, and is cut off (5.3).
    case crashUnconfirmed

    struct Trouble {
        var at: Duration
        var lasts: Duration
        var kind: Fault.Kind
    }

    static func troubles(_ random: inout Random, _ setup: Setup) -> [Trouble] {
        // Some need the most to come together, or a setup that few seeds have.
        let theme: Theme
        if setup.mode == .asynchronous, random.chance(30) {
            theme = .handoverTail
        } else if setup.timing == .relaxed, random.chance(15) {
            // Only such a lease is stretched by a slewed clock for longer than the guard's margin.
            theme = .slowClock
        } else {
            theme =
                setup.arbiter == .witness && random.chance(25) ? .answerHeldUp : random.pick(allCases.filter { $0.fits(setup) })
        }
        // What chose the theme chooses no moment in it.
        var build = Builder(random: random, lease: setup.timing.lease)
        build.add(theme, setup)
        random = build.random
        return build.troubles
    }

    /// Whether it can do harm in such a setup: elsewhere, the others are worth more.
    private func fits(_ setup: Setup) -> Bool {
        switch self {
        case .consentTurnedBack, .handoverCut, .twoWords, .ledgerless, .frameCut, .pauseCut, .standbyWithoutGateway, .handBack:
            true
        case .handoverTail: setup.mode == .asynchronous
        case .answerHeldUp, .otherCopy, .lateAcknowledgements, .promiserRestarts, .forgottenDecision, .hangAtPairing,
            .hangWhileParting, .slowClock, .acknowledgementsHeldUp, .handoverUnheard, .promisersLostInTurn:
            setup.arbiter == .witness
        case .namesFail, .crashUnconfirmed: setup.arbiter == .witness && setup.mode == .synchronous
        }
    }

    private struct Builder {
        var random: Random
        let lease: Duration
        var troubles: [Trouble] = []

        /// A moment or a span, in hundredths of L.
        mutating func l(_ low: Int, _ high: Int) -> Duration { lease * random.between(low, high) / 100 }
        mutating func ms(_ low: Int, _ high: Int) -> Duration { .milliseconds(random.between(low, high)) }

        mutating func at(_ time: Duration, for span: Duration = .zero, _ kind: Fault.Kind) {
            troubles.append(Trouble(at: time, lasts: span, kind: kind))
        }

        mutating func add(_ theme: Theme, _ setup: Setup) {
            // The primary is mostly A.
            let primary: Party = random.chance(70) ? .a : .b
            let standby: Party = primary == .a ? .b : .a
            switch theme {
            case .answerHeldUp: answerHeldUp(primary, standby)
            case .consentTurnedBack:
                at(.zero, for: l(150, 400), .badLink(standby, primary, loss: 0, twice: 0, late: l(30, 60)))
                if random.chance(50) { at(.zero, for: l(100, 300), .slowDisk(standby)) }
                at(ms(1, 300), .postmasterDies(standby, orphans: false))
                at(l(10, 80), for: l(200, 400), .cut(primary, standby))
                at(l(10, 80), for: l(200, 400), .cutBoth(primary, .witness))
                if setup.arbiter == .manual { at(l(150, 250), for: .seconds(8), .peerIsDown(standby, acceptDataLoss: false)) }
            case .handoverCut:
                if random.chance(50) { at(.zero, for: l(100, 200), .replicaLags(standby)) }
                if random.chance(50) {
                    at(l(20, 40), .switchover(primary))
                } else {
                    at(l(20, 40), .postmasterDies(primary, orphans: random.chance(30)))
                }
                let moment = l(20, 40) + ms(10, 500)
                switch random.below(4) {
                case 0: at(moment, for: ms(500, 4000), .powerOff(standby))
                case 1: at(moment, .agentDies(standby))
                default:
                    at(moment, for: l(150, 400), .cutBoth(primary, standby))
                    at(moment, for: l(100, 300), .cutBoth(standby, .witness))
                }
            case .handoverTail:
                // Not for so long that it could not take over.
                let moment = ms(300, 900)
                at(.zero, for: .seconds(8), .replicaLags(standby))
                if random.chance(60) { at(.zero, for: .seconds(4), .slowDisk(standby)) }
                at(moment, random.chance(80) ? .postmasterDies(primary, orphans: false) : .switchover(primary))
                if random.chance(80) {
                    let next = moment + ms(40, 600)
                    if random.chance(70) {
                        at(next, .agentDies(standby))
                    } else {
                        at(next, for: ms(200, 800), .powerOff(standby))
                    }
                }
            case .twoWords:
                let first: Party = random.chance(50) ? primary : standby
                let span = Duration.seconds(random.between(8, 10))
                if random.chance(50) { at(.zero, for: l(400, 900), .cutBoth(first, .witness)) }
                at(ms(0, 500), for: span, .peerIsDown(first, acceptDataLoss: false))
                if random.chance(50) { at(span - ms(0, 800), for: l(300, 600), .cutBoth(.a, .b)) }
                if random.chance(60) {
                    at(
                        span + ms(0, 1500), for: .seconds(9),
                        .peerIsDown(first == .a ? .b : .a, acceptDataLoss: random.chance(20)))
                }
            case .otherCopy:
                let moment = ms(0, 300)
                at(moment, .copyReplaced(standby))
                if random.chance(50) { at(ms(300, 600), .agentDies(standby)) }
                // Mostly before it has seen the other copy, and asks the standby to step out of the bond.
                let gone = random.chance(60) ? moment + ms(0, 300) : ms(100, 2500)
                at(gone, for: l(300, 600), random.chance(50) ? .powerOff(primary) : .isolate(primary))
            case .ledgerless:
                let span = Duration.seconds(random.between(8, 10))
                if setup.arbiter == .manual {
                    at(.zero, for: span, .peerIsDown(standby, acceptDataLoss: false))
                } else {
                    at(.zero, for: span, .powerOff(primary))
                    at(span - .seconds(1), for: l(300, 600), .cutBoth(primary, .witness))
                }
                at(span - .seconds(random.between(1, 3)), for: l(400, 900), .ledgerLost(standby))
            case .lateAcknowledgements:
                at(.zero, for: l(300, 500), .badLink(standby, primary, loss: 0, twice: 100, late: l(50, 200)))
                at(ms(100, 400), for: l(300, 500), .cutBoth(primary, .witness))
                let moment = l(20, 120)
                if random.chance(50) { at(moment, for: ms(100, 700), .powerOff(primary)) }
                at(moment + ms(0, 300), for: l(300, 500), .cut(primary, standby))
            case .promiserRestarts:
                let moment = l(110, 160)
                at(.zero, for: l(400, 600), .cutBoth(primary, .witness))
                at(moment, random.chance(70) ? .agentDies(standby) : .agentAndGuardDie(standby))
                at(moment - ms(0, 100), for: l(200, 400), .cutBoth(primary, standby))
            case .forgottenDecision:
                at(.zero, for: l(300, 500), .cutBoth(.a, .b))
                at(l(60, 180), for: ms(100, 1000), .witnessForgets)
                if random.chance(50) { at(l(100, 220), for: l(100, 200), .cutBoth(primary, .witness)) }
            case .hangAtPairing:
                at(.zero, for: l(200, 400), .slowDisk(primary))
                if random.chance(60) { at(.zero, for: .seconds(6), .effectsFail(primary, .armGuard, random.between(2, 12))) }
                at(ms(0, 200), .postmasterDies(standby, orphans: false))
                at(ms(100, 3500), for: l(250, 500), .agentHangs(primary))
            case .hangWhileParting:
                at(.zero, for: l(250, 400), .isolate(primary))
                at(l(48, 80), for: l(150, 300), .agentHangs(primary))
            case .frameCut:
                at(.zero, .frameChanges(random.pick([.manual, .witness]), random.pick([.standard, .fast, .relaxed])))
                at(ms(0, 2500), for: l(200, 500), .isolate(primary))
            case .pauseCut:
                at(ms(0, 100), for: l(150, 300), .cut(standby, primary))
                at(ms(0, 150), .pause(primary, maintenance: random.chance(30)))
                if random.chance(40) { at(l(150, 300), .resume(primary)) }
                if random.chance(40) { at(l(150, 300), for: l(200, 300), .powerOff(standby)) }
            case .standbyWithoutGateway:
                at(.zero, for: l(200, 800), .gatewayLost(standby))
                at(l(10, 60), for: l(200, 500), .isolate(primary))
                if random.chance(30) { at(.zero, for: l(100, 300), .replicaLags(standby)) }
            case .handBack:
                at(.zero, for: l(300, 900), .effectsFail(standby, random.pick([.receiveWAL, .promote]), random.between(3, 6)))
                switch random.below(3) {
                case 0: at(ms(10, 300), for: .seconds(6), .agentStopped(primary))
                case 1: at(ms(10, 300), .postmasterDies(primary, orphans: false))
                default: at(ms(10, 300), .switchover(primary))
                }
                if random.chance(40) { at(l(50, 300), for: l(100, 300), .cutBoth(.a, .b)) }
                if random.chance(30) { at(l(50, 300), for: l(100, 300), .copySwapped(random.chance(50) ? primary : standby)) }
            case .slowClock:
                at(.zero, for: l(300, 500), .slew(primary, random.chance(75) ? -80_000 : 80_000))
                if random.chance(50) { at(.zero, for: l(300, 500), .slew(standby, 80_000)) }
                at(l(50, 120), for: l(200, 400), .isolate(primary))
            case .acknowledgementsHeldUp:
                // At least one heartbeat is acknowledged first.
                let moment = l(8, 14)
                let held = l(55, 85)
                for other in [standby, .witness] {
                    at(.zero, for: held, .stall(other, primary))
                    at(moment, for: l(300, 400), .cut(primary, other))
                    // Nor does the primary hear what they do about it.
                    at(held + ms(10, 60), for: l(200, 300), .cut(other, primary))
                }
            case .namesFail:
                at(.zero, for: l(60, 120), .powerOff(standby))
                // Not before the names have been emptied.
                at(l(75, 90), for: .seconds(8), .effectsFail(primary, .configure, random.between(4, 8)))
                at(l(100, 100) + ms(1500, 5500), for: l(200, 400), .isolate(primary))
            case .handoverUnheard:
                let moment = ms(100, 300)
                at(.zero, for: .seconds(4), .slowDisk(standby))
                at(moment, .switchover(primary))
                let unheard = moment + ms(150, 900)
                for other in [primary, .witness] { at(unheard, for: l(200, 300) + .milliseconds(1500), .cutBoth(standby, other)) }
            case .promisersLostInTurn:
                at(.zero, for: l(250, 350), .cutBoth(.a, .b))
                at(l(26, 42), for: l(200, 300), .cutBoth(primary, .witness))
            case .crashUnconfirmed:
                let moment = ms(20, 300)
                at(.zero, for: l(200, 300) + .seconds(5), .cutBoth(.a, .b))
                at(moment, .postmasterDies(primary, orphans: false))
                at(moment + ms(2300, 3600), for: l(200, 300) + .seconds(1), .cutBoth(primary, .witness))
            }
        }

        private mutating func answerHeldUp(_ primary: Party, _ standby: Party) {
            let held: Party = random.chance(65) ? standby : primary
            if held == standby {
                // The standby claims; the grant is held up; the primary comes back, and the bond changes meanwhile.
                at(.zero, for: l(125, 170), .cutBoth(.a, .b))
                let stalled = l(30, 70)
                guard random.chance(60) else {
                    // Meanwhile another arbiter: the primary's agent is restarted first, and the answer must come before the standby's is (mistake 23).
                    let change = l(140, 180)
                    at(.zero, for: l(300, 400) + .seconds(6), .cutBoth(primary, .witness))
                    at(stalled, for: change - stalled + ms(2400, 4000), .stall(.witness, standby))
                    at(change, .frameChanges(.manual, .standard))
                    return at(change + ms(200, 1500), .postmasterDies(standby, orphans: false))
                }
                let answered = l(230, 420)
                at(.zero, for: random.chance(60) ? l(160, 230) : l(200, 500), .cutBoth(primary, .witness))
                at(stalled, for: answered, .stall(.witness, standby))
                // Forgotten, the grant is to be used against the bond that has been made anew since.
                let isForgotten = random.chance(60)
                if isForgotten { at(l(115, 150), for: ms(50, 600), .witnessForgets) }
                if random.chance(isForgotten ? 90 : 60) {
                    at(l(170, 230) + ms(200, 800), .postmasterDies(standby, orphans: false))
                }
                if random.chance(50) { at(stalled + answered - l(0, 20), for: l(200, 300), .cutBoth(.a, .b)) }
                if random.chance(isForgotten ? 90 : 50) {
                    at(stalled + answered + ms(1, 60), for: l(150, 400), .cutBoth(standby, .witness))
                }
            } else {
                // The primary asks for `sole`; the answer is late, and by then the record is another one, and nobody hears the primary.
                let late = l(80, 160)
                at(.zero, for: l(70, 95), .isolate(standby))
                at(l(35, 35), for: l(30, 30), .slowLink(.witness, primary, by: late))
                at(l(55, 68), for: ms(50, 300), .witnessForgets)
                let away = late + l(20, 45)
                at(away, for: l(300, 500), .cut(primary, standby))
                at(away, for: l(300, 500), .cut(primary, .witness))
            }
        }
    }
}
