import TandemCore
import TandemSystem

/// The two blocking parts of the watch, each in its own lane.
extension Watch {
    /// Finds the server if none is known, else asks the kept session; then says when to look again.
    func look() {
        let known = state.withLock { $0.postmaster }
        if known == nil { discover() } else { readMark() }
        askKept()
        let now = SystemClock.now()
        let (next, isNews) = state.withLock { state in
            let begun = state.lookBegun ?? now
            state.lookBegun = nil
            var pause = state.pause(now, patience)
            // The end of the last orphan is waited for: fencing and restarts hang on it.
            if case .orphaned = state.facts.condition { pause = min(pause, 10_000_000) }
            // A poke that came meanwhile set it to 0: it stays due.
            state.nextLook = state.nextLook == 0 && begun < now ? max(now, begun + pause) : begun + pause
            let view = state.view(now, patience: patience.answer, newSessionPatience: patience.newSessionAnswer)
            return (state.nextLook, !(state.delivered.map { $0.says(the: view) } ?? false))
        }
        // By its own clock: ten times a second, and most of the time there is nothing to tell.
        looks.submit(at: next) { if self.state.withLock({ $0.beginsLook(SystemClock.now(), self.patience) }) { self.look() } }
        if isNews { bell.ring() }
    }

    // MARK: without a server

    private func discover() {
        if let problem = DataDirectory.problem(settings) {
            let remembered = DataDirectory.remembered(settings)
            state.withLock { state in
                state.facts.systemIdentifier = remembered
                state.facts.copy = nil
            }
            // Its server may live on, where the directory was renamed or taken away under it.
            return foundNobody(else: .unusable(problem))
        }
        // Before anything of it is told: a directory whose mark was not read yet would look like a foreign one.
        let damage = readMark()
        do throws(SystemError) {
            let identifier = try DataDirectory.systemIdentifier(settings)
            let version = try DataDirectory.majorVersion(settings.dataDirectory)
            state.withLock { state in
                state.facts.systemIdentifier = identifier
                state.facts.majorVersion = version
            }
            if let postmaster = try processes.postmaster(settings) { return try adopt(postmaster) }
        } catch {
            return found(.unusable(error.description))
        }
        foundNobody(else: damage.map { .unusable($0) } ?? .stopped)
    }

    /// No postmaster is named. Without any process the condition is the one given.
    private func foundNobody(else condition: LocalPostgres.Condition) {
        let left = processes.all()
        if left.isEmpty { return found(condition) }
        // A server that just starts has no postmaster.pid yet: only a second look tells.
        let isCertain = state.withLock { state in
            let now = SystemClock.now()
            let since = state.orphansSince ?? now
            state.orphansSince = since
            return now - since > 200_000_000
        }
        found(isCertain ? .orphaned(processes: left.count) : .starting("a server appears"))
    }

    private func found(_ condition: LocalPostgres.Condition) {
        state.withLock { state in
            guard state.postmaster == nil else { return }
            if condition == .stopped { state.orphansSince = nil }
            state.facts.condition = condition
            state.isFresh = true
        }
    }

    private func adopt(_ postmaster: Postmaster) throws(SystemError) {
        let interruption = try Bell()
        let notification: ProcessEnd
        do throws(SystemError) {
            notification = try ProcessEnd(pid: postmaster.pid) { [weak self] in self?.postmasterEnded(postmaster) }
        } catch {
            // It ended meanwhile: the next look finds out.
            return
        }
        let now = SystemClock.now()
        state.withLock { state in
            state.postmaster = postmaster
            state.notification = notification
            state.interruption = interruption
            state.orphansSince = nil
            state.lastAnswer = now
            state.lastNewSession = now
            state.nextKnock = 0
            state.nextFrame = 0
            state.facts.condition = .starting(processes.recoveryProgress() ?? "a postmaster runs")
            state.isFresh = true
        }
        // A session is begun at once.
        bell.ring()
        // The number may have been used again between the look and the notification.
        if !processes.isAlive(postmaster) { postmasterEnded(postmaster) }
    }

    /// What is wrong with the mark, if it was looked at.
    @discardableResult
    private func readMark() -> String? {
        guard state.withLock({ $0.readCopyMark || $0.postmaster == nil }) else { return nil }
        var mark: LocalPostgres.CopyMark?
        var problem: String?
        do throws(PostgresError) {
            mark = try CopyMarkFile.read(settings.dataDirectory)
        } catch {
            problem = error.description
        }
        state.withLock { state in
            state.readCopyMark = false
            if state.facts.copy != mark { state.isFresh = true }
            state.facts.copy = mark
            // A running server goes on; without a mark it is in nobody's plans.
            if let problem, state.postmaster == nil { state.facts.condition = .unusable(problem) }
        }
        return problem
    }

    // MARK: with a server

    private func askKept() {
        let (session, asksFrame) = state.withLock { ($0.kept, SystemClock.now() >= $0.nextFrame) }
        guard let session else { return }
        do throws(SessionError) {
            var facts = state.withLock { $0.facts }
            if asksFrame {
                WatchQuery.readFrame(try session.query(WatchQuery.frameSQL, deadline: patience.statement), into: &facts)
                facts.majorVersion = session.majorVersion
            }
            let answer = try session.query(prepared: "watch", WatchQuery.sql, deadline: patience.statement)
            let now = SystemClock.now()
            guard WatchQuery.read(answer, into: &facts) else { return }
            state.withLock { state in
                guard state.kept === session else { return }
                let mark = state.facts.copy
                state.isBusy = facts.growth(since: state.facts) > 256 << 10
                state.facts = facts
                state.facts.copy = mark
                state.heard(facts.condition, now, byNewSession: false)
                if asksFrame { state.nextFrame = now + 5_000_000_000 }
            }
        } catch {
            session.close()
            let now = SystemClock.now()
            state.withLock { state in
                guard state.kept === session else { return }
                state.kept = nil
                state.nextKnock = 0
                // Shutting down, a conflict with recovery, an ended session: it has spoken, which is life.
                if error.isAnswer { state.lastAnswer = now }
            }
            // Another one is begun at once.
            bell.ring()
        }
    }

    /// A new session, as a client would begin one.
    func knock() {
        let (postmaster, interruption) = state.withLock { ($0.postmaster, $0.interruption) }
        var isKept = true
        if let postmaster {
            do throws(SessionError) {
                let session = try Session(
                    to: SessionTarget(settings, statementTimeout: .seconds(10)), deadline: patience.statement,
                    interruption: interruption)
                isKept = opened(session, postmaster)
            } catch {
                isKept = refused(error, postmaster)
            }
        }
        let now = SystemClock.now()
        state.withLock { state in
            let begun = state.knockBegun ?? now
            state.knockBegun = nil
            let pause = isKept ? patience.newSessions : patience.interval
            state.nextKnock = begun + pause.inNanoseconds
            // A new session that may be kept is asked at once.
            if state.kept != nil, state.facts.flushed == nil, state.facts.replayed == nil { state.nextLook = 0 }
        }
        bell.ring()
    }

    /// True while a session is kept.
    private func opened(_ session: Session, _ postmaster: Postmaster) -> Bool {
        // Another instance at the same socket says nothing about ours.
        if let other = session.postmaster, other != postmaster.pid {
            session.close()
            return false
        }
        let now = SystemClock.now()
        let isSpare = state.withLock { state in
            guard state.postmaster == postmaster else { return true }
            state.lastNewSession = now
            state.lastAnswer = now
            if state.kept != nil { return true }
            state.kept = session
            return false
        }
        if isSpare { session.close() }
        return true
    }

    private func refused(_ error: SessionError, _ postmaster: Postmaster) -> Bool {
        var answer = error
        if case .unreachable = error, let byNetwork = knockByNetwork() { answer = byNetwork }
        guard answer.isAnswer else { return state.withLock { $0.kept != nil } }
        let now = SystemClock.now()
        let progress = processes.recoveryProgress()
        let isOpen = lastStatus()
        return state.withLock { state in
            guard state.postmaster == postmaster else { return false }
            switch answer {
            case .startingUp(let message):
                let text = progress.map { "\(message): \($0)" } ?? message
                state.heard(.starting(text), now, byNewSession: true)
            case .refused:
                // Out of slots, a refused password, a missing database: it lives. What it is, the kept session tells, or
                // what it last said, or its own file.
                state.lastAnswer = now
                state.lastNewSession = now
                if state.kept == nil, !state.facts.isRunning, let isOpen {
                    state.heard(.running(isInRecovery: !isOpen), now, byNewSession: true)
                }
            case .unreachable, .timedOut, .lost: break
            }
            return state.kept != nil
        }
    }

    /// A cleaner may have removed the socket under a healthy server: clients use the network.
    private func knockByNetwork() -> SessionError? {
        let target = SessionTarget(host: "127.0.0.1", port: settings.port, user: settings.superuser, database: settings.database)
        do throws(SessionError) {
            try Session(to: target, deadline: .milliseconds(500)).close()
            return .refused(sqlstate: "00000", message: "it answers over the network only")
        } catch {
            return error.isAnswer ? error : nil
        }
    }

    private func lastStatus() -> Bool? {
        do throws(SystemError) {
            switch try PostmasterFile.read(settings)?.status {
            case .ready: return true
            case .standby: return false
            case .starting, .stopping, nil: return nil
            }
        } catch {
            // Unknown stays unknown.
            return nil
        }
    }
}
