import Glibc
import Logging
import Synchronization
import TandemCore
import TandemSystem
import TandemWire

/// Carries out effects: one case per effect, one call of a port. A decision here would belong in the core.
struct Interpreter: Sendable {
    let postgres: any PostgresPort
    let addresses: any AddressPort
    let ledger: any LedgerPort
    let link: any LinkPort
    let witness: any LinkPort
    let guardian: any GuardPort
    let tail: TailTransfer
    let encode: @Sendable (Heartbeat, Heartbeat.Header) -> (bytes: [UInt8], isRepetition: Bool)
    let turns: Bool
    let encodeRequest: @Sendable (WitnessRequest, Heartbeat.Header) -> [UInt8]
    let post: @Sendable (Event) -> Void
    let answer: @Sendable (RequestID, CommandAnswer) -> Void
    let exit: @Sendable () -> Void
    let log: Logger
    let lanes: Lanes
    private let copying = Copying()

    /// Ends what may take hours: rung from the loop, heard on the lane, also if that comes to it later.
    private final class Copying: Sendable {
        private let bell = Mutex<Bell?>(nil)

        /// nil: there is no descriptor to be had; it cannot be ended then.
        func begin() -> Bell? {
            let new: Bell?
            do { new = try Bell() } catch { new = nil }
            bell.withLock { $0 = new }
            return new
        }

        func end() { bell.withLock { $0 }?.ring() }
    }

    /// What belongs together happens in order; what may hang does not hold up the rest.
    struct Lanes: Sendable {
        let ledger = Lane(name: "ledger")
        let control = Lane(name: "control")
        let settings = Lane(name: "settings")
        let confirm = Lane(name: "confirm")
        let guardian = Lane(name: "guard")
        let primaryAddress = Lane(name: "primary-vip")
        let standbyAddress = Lane(name: "standby-vip")

        func stop() {
            for lane in [ledger, control, settings, confirm, guardian, primaryAddress, standbyAddress] { lane.stop() }
        }
    }

    func perform(_ effect: Effect) {
        switch effect {
        case .writeLedger(let new, let notes): write(new, notes)
        case .send(let heartbeat, let header):
            let (bytes, isRepetition) = encode(heartbeat, header)
            if isRepetition, turns {
                link.sendInTurn(FrameKind.heartbeat, bytes)
            } else {
                link.send(FrameKind.heartbeat, bytes)
            }
        case .askWitness(let request, let header): witness.send(FrameKind.witnessRequest, encodeRequest(request, header))
        case .armGuard(let until, let id):
            run(on: lanes.guardian, id, "arm the guard") {
                try guardian.arm(until: until); return .done
            }
        case .extendGuard(let until): guardian.extend(until: until)
        case .releaseGuard(let id):
            run(on: lanes.guardian, id, "release the guard") {
                try guardian.release(); return .done
            }
        case .start(let mode, let id):
            control(id, "start PostgreSQL") {
                if case .primary(let copy) = mode { try postgres.requireCopy(copy) }
                try postgres.start(mode)
                return .done
            }
        case .stop(let mode, let id):
            // Ordered behind a copy only when this agent is told to stop: nobody waits for hours then.
            copying.end()
            control(id, "stop PostgreSQL") {
                try postgres.stop(mode); return .done
            }
        case .promote(let id):
            control(id, "promote PostgreSQL") {
                let (timeline, fork) = try postgres.promote()
                return .promoted(timeline: timeline, fork: fork)
            }
        case .configure(let settings, let id):
            run(on: lanes.settings, id, "write the settings") {
                try postgres.configure(settings); return .done
            }
        case .survey(let id):
            control(id, "compare this instance with the primary's") { .surveyed(try postgres.survey()) }
        case .rejoin(let way, let id):
            let bell = copying.begin()
            control(id, way == .rewind ? "rewind this instance" : "copy the primary anew") {
                try postgres.rejoin(way, endedBy: bell); return .done
            }
        case .findEndOfWAL(let start, let copy, let id):
            control(id, "find the end of WAL") {
                try postgres.requireCopy(copy)
                return .position(try postgres.findEndOfWAL(from: start))
            }
        case .receiveWAL(let end, let id):
            control(id, "receive the rest of the WAL") {
                if let came = try tail.receive(upTo: end) {
                    log.info(
                        "the rest of the WAL came from the other host's disk",
                        metadata: ["bytes": "\(came.bytes)", "ms": "\(came.took.milliseconds)"])
                }
                return .done
            }
        case .confirmSynchronous(let copy, let id):
            run(on: lanes.confirm, id, "confirm synchronous replication") { .position(try postgres.confirmSynchronous(copy)) }
        case .confirmPosition(let copy, let id):
            run(on: lanes.confirm, id, "confirm the standby's position") {
                try postgres.confirmPosition(copy); return .done
            }
        case .checkpoint(let id):
            run(on: lanes.confirm, id, "checkpoint") {
                try postgres.checkpoint(); return .done
            }
        case .claimAddress(let role, let regardless, let until, let id):
            address(role, id, "take the \(role.rawValue) address") {
                // The lane may have been held up for longer than the right to it lasts.
                if let until, until.hasEnded(at: .now()) { throw LeaseOver() }
                try addresses.claim(role, regardless: regardless)
                // It may have been held up in there, too, and the guard has removed it meanwhile.
                if let until, until.hasEnded(at: .now()) {
                    try addresses.release(role)
                    throw LeaseOver()
                }
            }
        case .releaseAddress(let role, let id):
            address(role, id, "give up the \(role.rawValue) address") { try addresses.release(role) }
        case .recordLineage(let term, let copy, let parent, let fork, let timeline):
            lanes.confirm.submit {
                attempt("record the lineage") {
                    try postgres.recordLineage(term: term, copy: copy, parent: parent, fork: fork, timeline: timeline)
                }
            }
        case .answer(let id, let text): answer(id, text)
        case .notice(let notice): say(notice)
        case .exit:
            copying.end()
            exit()
        }
    }

    private func write(_ new: Ledger, _ notes: Notes) {
        lanes.ledger.submit {
            do {
                try ledger.write(new, notes)
                post(.ledgerWritten(new))
            } catch let doubt as LedgerInDoubt {
                log.critical("the agent ends, and its service starts it again: \(doubt)")
                _exit(70)
            } catch {
                post(.ledgerNotWritten(new, "\(error)"))
            }
        }
    }

    /// On the lane that changes the instance; the next look begins after it, so that no older one is believed.
    private func control(_ id: OperationID, _ what: String, _ work: @escaping @Sendable () throws -> Outcome) {
        lanes.control.submit {
            post(.completed(id, result(what, work)))
            post(.postgres(postgres.look()))
        }
    }

    private func run(on lane: Lane, _ id: OperationID, _ what: String, _ work: @escaping @Sendable () throws -> Outcome) {
        lane.submit { post(.completed(id, result(what, work))) }
    }

    private func address(_ role: AddressRole, _ id: OperationID, _ what: String, _ work: @escaping @Sendable () throws -> Void) {
        let lane = role == .primary ? lanes.primaryAddress : lanes.standbyAddress
        lane.submit {
            let outcome = result(what) {
                try work(); return .done
            }
            attempt("list the addresses") { try addresses.tellHeld { post(.addresses($0)) } }
            post(.completed(id, outcome))
        }
    }

    private func result(_ what: String, _ work: () throws -> Outcome) -> Outcome {
        let began = SystemClock.now()
        do {
            let outcome = try work()
            log.debug("done", metadata: ["operation": "\(what)", "ms": "\((SystemClock.now() - began) / 1_000_000)"])
            return outcome
        } catch {
            return .failed("could not \(what): \(error)")
        }
    }

    private func attempt(_ what: String, _ work: () throws -> Void) {
        do { try work() } catch { log.warning("could not \(what)", metadata: ["reason": "\(error)"]) }
    }

    private func say(_ notice: Notice) {
        var facts: Logger.Metadata = [:]
        for fact in notice.facts { facts[fact.name] = "\(fact.value)" }
        let level: Logger.Level =
            switch notice.level {
            case .info: .info
            case .warning: .warning
            case .error: .error
            }
        log.log(level: level, "\(notice.text)", metadata: facts)
    }
}

extension Moment {
    /// Both clocks, one right after the other; each is kept for itself.
    package static func now() -> Moment {
        Moment(boot: Instant(nanoseconds: SystemClock.now()), raw: Instant(nanoseconds: SystemClock.raw()))
    }
}

/// An order that came to its turn after the lease it rested on.
private struct LeaseOver: Error, CustomStringConvertible {
    var description: String { "the lease that it was ordered under has run out; it is not taken before there is a new one" }
}
