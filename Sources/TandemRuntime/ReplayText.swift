import TandemCore
import TandemWire

/// Events and decisions in a line each, for people.
enum ReplayText {
    // MARK: - events

    /// - Parameter operation: what it was, if the event is the end of one.
    static func event(_ event: Event, operation: String?) -> String {
        switch event {
        case .started(let start):
            return "the agent starts (session \(start.session)) with \(start.ledger.map { "the ledger \($0)" } ?? "no ledger")"
        case .tick: return "a heartbeat's time has come"
        case .postgres(let seen): return "PostgreSQL here: \(postgres(seen))"
        case .hello(let session): return "the other agent has connected (session \(session))"
        case .linkLost: return "all paths to the other agent are down"
        case .heartbeat(let heartbeat, _): return Self.heartbeat(heartbeat)
        case .witnessHello(let session): return "the witness has connected (session \(session))"
        case .witness(let answer, _):
            let promise = answer.promised.map { ", supports this node for \($0.text)" } ?? ""
            return "the witness answers \(answer.number): \(answer.record.map { "record \($0)" } ?? "no record")\(promise)"
        case .guardEnded: return "the guard has died"
        case .windows(let open):
            return "windows: coming back \(open.rejoin ? "open" : "closed"), failback \(open.failback ? "open" : "closed")"
        case .gateway(let isSeen): return isSeen ? "the gateway answers" : "the gateway does not answer"
        case .storage(let storage): return "storage here: \(storage.text ?? storage.word)"
        case .ledgerWritten(let ledger): return "the ledger \(ledger) is durable"
        case .ledgerNotWritten(let ledger, let why): return "the ledger \(ledger) could not be written: \(why)"
        case .completed(let id, let outcome): return "\(operation ?? "an operation") \(id): \(Self.outcome(outcome))"
        case .addresses(let held): return "addresses here: primary \(held.primary.rawValue), standby \(held.standby.rawValue)"
        case .configurationsCompared(let keys):
            return keys.isEmpty ? "the configurations agree" : "the configurations differ in \(keys.joined(separator: ", "))"
        case .command(let command, _): return "a person: \(Self.command(command))"
        case .stopRequested: return "the agent is told to stop"
        }
    }

    private static func postgres(_ postgres: LocalPostgres) -> String {
        var parts: [String] = []
        switch postgres.condition {
        case .stopped: parts.append("stopped")
        case .starting(let progress): parts.append("starting (\(progress))")
        case .orphaned(let processes): parts.append("its postmaster has ended, \(processes) processes are left")
        case .running(let isInRecovery): parts.append(isInRecovery ? "recovering" : "open")
        case .silent(let span): parts.append("has answered nothing for \(span.text)")
        case .unusable(let why): parts.append(why)
        }
        if let timeline = postgres.timeline { parts.append("timeline \(timeline)") }
        if postgres.isOpen {
            if let flushed = postgres.flushed { parts.append("WAL \(flushed)") }
            let streams = postgres.replicas.filter(\.isStreaming)
            parts.append(
                streams.isEmpty
                    ? "no standby streams" : "a standby streams\(streams.contains(where: \.isSynchronous) ? ", synchronous" : "")"
            )
        } else if postgres.isRecovering {
            if let replayed = postgres.replayed { parts.append("replayed \(replayed)") }
            parts.append(postgres.isStreaming ? "streaming" : "no stream")
        }
        return parts.joined(separator: ", ")
    }

    private static func heartbeat(_ heartbeat: Heartbeat) -> String {
        let report = heartbeat.report
        var text = "heartbeat \(heartbeat.number) of the other node: role \(report.role.rawValue), "
        text += heartbeat.ledger.map { "ledger \($0)" } ?? "no ledger"
        if report.isLeaving { text += ", it is told to stop" }
        switch heartbeat.ask {
        case nil: break
        case .consent(let ledger): text += "; asks for consent to \(ledger)"
        case .prepare(let handover): text += "; asks to prepare for handover \(handover)"
        case .switchover: text += "; passes on a person's switchover"
        case .pause(_, let maintenance): text += "; passes on a person's pause\(maintenance ? " (--standby-maintenance)" : "")"
        case .resume: text += "; passes on a person's resume"
        case .cancelFailback: text += "; passes on a person's no to the failback"
        }
        switch heartbeat.answer {
        case nil: break
        case .prepared(let handover, let replayed): text += "; is ready for handover \(handover), replayed \(replayed)"
        case .notPrepared(let handover, let notes): text += "; is not ready for handover \(handover): \(codes(notes))"
        case .requestRefused(_, let notes): text += "; refuses what was asked here: \(codes(notes))"
        case .requestDone(_, let done): text += "; has done what was asked here: \(done)"
        }
        return text
    }

    private static func codes(_ notes: [RefusalNote]) -> String { notes.map(\.code).joined(separator: ", ") }

    private static func outcome(_ outcome: Outcome) -> String {
        switch outcome {
        case .done: "done"
        case .position(let position): "done, \(position)"
        case .promoted(let timeline, let fork): "done, timeline \(timeline) from \(fork) on"
        case .surveyed(let survey): "done, \(Self.survey(survey))"
        case .failed(let why): "failed: \(why)"
        }
    }

    private static func survey(_ survey: Survey) -> String {
        switch survey {
        case .plain: "it can follow as it is"
        case .rewind(let fork, let lost): "it has left the primary's WAL at \(fork), with \(lost) bytes of its own: pg_rewind"
        case .copy(let why): "it takes a new copy: \(why)"
        case .refuse(let why): "a person is needed: \(why)"
        }
    }

    private static func command(_ command: Command) -> String {
        switch command {
        case .switchover(let target, let dryRun): "switchover\(target.map { " --to \($0)" } ?? "")\(dryRun ? " --dry-run" : "")"
        case .failover(let accept): "failover --peer-is-down\(accept ? " --accept-data-loss" : "")"
        case .pause(let maintenance): "pause\(maintenance ? " --standby-maintenance" : "")"
        case .resume: "resume"
        case .cancelFailback: "switchover --cancel"
        case .rejoin(let fresh): "rejoin\(fresh ? " --fresh" : "")"
        case .join(let copy): "join on the other host, with the copy \(copy.text.prefix(8))"
        }
    }

    // MARK: - decisions

    static func decision(_ transition: Transition) -> ReplayDecision {
        let row = TransitionTable.rows.first { $0.transition == transition }
        return ReplayDecision(
            kind: "transition",
            text:
                "\(transition.from.rawValue) → \(transition.to.rawValue): \(row?.reason ?? "a change of state that the table does not have")",
            cause: transition.cause.rawValue, section: row?.section)
    }

    /// nil: what is ordered all the time, and decides nothing.
    static func decision(_ effect: Effect, ledger: Ledger?) -> ReplayDecision? {
        switch effect {
        case .send, .extendGuard: return nil
        case .askWitness(let request, _):
            switch request.kind {
            case .heartbeat, .read: return nil
            case .sole(let ledger): return ReplayDecision(kind: "ask", text: "asks the witness to make \(ledger) sole")
            case .claim(let ledger, let granted):
                return ReplayDecision(kind: "ask", text: "asks the witness for the role: \(granted) in the place of \(ledger)")
            case .establish(let ledger, _):
                return ReplayDecision(kind: "ask", text: "asks the witness to write its lost record anew: \(ledger)")
            }
        case .writeLedger(let new, let notes):
            if new == ledger { return ReplayDecision(kind: "notes", text: "beside the ledger: \(Self.notes(notes))") }
            return ReplayDecision(kind: "ledger", text: "the ledger \(new) is to be written")
        case .claimAddress, .releaseAddress: return ReplayDecision(kind: "address", text: numbered(effect))
        case .answer(_, .progress(let text)): return ReplayDecision(kind: "answer", text: "to the person: \(text)")
        case .answer(_, .done(let text)): return ReplayDecision(kind: "answer", text: "to the person: done, \(text)")
        case .answer(_, .refused(let notes)):
            return ReplayDecision(kind: "answer", text: "to the person: refused", reasons: notes.map(NoteDocument.init))
        case .notice(let notice):
            return ReplayDecision(
                kind: "notice", text: notice.text, level: notice.level.rawValue,
                facts: Dictionary(notice.facts.map { ($0.name, $0.value) }) { _, last in last })
        case .exit: return ReplayDecision(kind: "exit", text: "the agent ends")
        case .armGuard, .releaseGuard, .start, .stop, .promote, .configure, .confirmSynchronous, .confirmPosition, .checkpoint,
            .survey, .rejoin, .findEndOfWAL, .receiveWAL, .recordLineage:
            return ReplayDecision(kind: "order", text: numbered(effect))
        }
    }

    private static func numbered(_ effect: Effect) -> String { order(effect) + (effect.operation.map { " \($0)" } ?? "") }

    private static func notes(_ notes: Notes) -> String {
        var parts: [String] = []
        if notes.peerHeardIn != nil { parts.append("the other node agreed in this boot") }
        if let end = notes.follows { parts.append("this node handed over, its WAL ends at \(end)") }
        if let seen = notes.witness { parts.append("the witness's record was (\(seen.term), \(seen.step))") }
        if notes.isForeign == true { parts.append("the instance was open without the right to, and was not compared since") }
        if let term = notes.roleKeptIn { parts.append("a person keeps the role here in term \(term)") }
        return parts.isEmpty ? "nothing" : parts.joined(separator: "; ")
    }

    /// In the imperative, without its number.
    static func order(_ effect: Effect) -> String {
        switch effect {
        case .writeLedger(let ledger, _): "write the ledger \(ledger)"
        case .send(let heartbeat, _): "send heartbeat \(heartbeat.number)"
        case .askWitness(let request, _): "ask the witness: \(request.kind.word)"
        case .armGuard: "arm the guard"
        case .extendGuard: "move the guard's deadline"
        case .releaseGuard: "release the guard"
        case .start(.standby, _): "start PostgreSQL as standby"
        case .start(.isolated, _): "start PostgreSQL as standby that connects to nobody"
        case .start(.follower(let fork), _): "start PostgreSQL as standby of a node that left the timeline at \(fork)"
        case .start(.primary, _): "start PostgreSQL as primary"
        case .stop(let mode, _): "stop PostgreSQL (\(mode.rawValue))"
        case .promote: "promote PostgreSQL"
        case .configure(let settings, _):
            "write the settings (commits wait for \(Self.copy(settings.synchronous)), slot for \(Self.copy(settings.slot)))"
        case .confirmSynchronous(let copy, _):
            "see that commits wait for the copy \(copy.text.prefix(8)), and that it has them all"
        case .confirmPosition(let copy, _): "see that the copy \(copy.text.prefix(8)) has what recovery showed here"
        case .checkpoint: "checkpoint"
        case .survey: "compare this instance with the primary's"
        case .rejoin(.rewind, _): "rewind this instance"
        case .rejoin(.copy, _): "copy the primary anew"
        case .findEndOfWAL(let start, _, _): "find the end of WAL from \(start) on"
        case .receiveWAL(let end, _): "receive all WAL up to \(end)"
        case .claimAddress(let role, let regardless, _, _):
            "take the \(role.rawValue) address\(regardless ? ", whoever answers for it" : "")"
        case .releaseAddress(let role, _): "give up the \(role.rawValue) address"
        case .recordLineage(let term, _, let parent, let fork, let timeline):
            "record that term \(term) descends from term \(parent) at \(fork), timeline \(timeline)"
        case .answer: "answer the person"
        case .notice(let notice): "say: \(notice.text)"
        case .exit: "end"
        }
    }

    private static func copy(_ copy: CopyID?) -> String { copy.map { String($0.text.prefix(8)) } ?? "nobody" }
}
