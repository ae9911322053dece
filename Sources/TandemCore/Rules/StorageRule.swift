/// This node's storage, as the last canary told it, and for how long.
struct StorageKeeper: Hashable, Sendable, Codable {
    var state = Storage.well
    var isKnown = false
    /// Since when it is so.
    var since: Instant?
    /// The last trouble that has ended, and when.
    var past: Storage?
    var pastSince: Instant?
    /// While writes hang: where PostgreSQL's own WAL ends, and when that changed last.
    var flushed: LSN?
    var flushedAt: Instant?

    mutating func told(_ new: Storage, at now: Instant) {
        isKnown = true
        switch state {
        case .readOnly where new.word != state.word, .failing where new.word != state.word:
            past = state
            pastSince = now
        default: break
        }
        if state.word != new.word { since = now }
        if case .hangs(_, let span) = new {
            if state.word != new.word { (flushed, flushedAt) = (nil, nil) }
            since = now - span
        }
        state = new
    }

    /// A busy disk may hold one write up for long while others come through.
    mutating func observed(_ postgres: LocalPostgres, at now: Instant) {
        guard case .hangs = state, let end = postgres.flushed else { return }
        if let flushed, flushed != end { flushedAt = now }
        flushed = end
    }
}

/// So many ends of PostgreSQL in so short a time are no accident.
struct CrashKeeper: Hashable, Sendable, Codable {
    private(set) var ends: [Instant] = []

    mutating func ended(at now: Instant) {
        ends.append(now)
        if ends.count > 16 { ends.removeFirst() }
    }

    func count(within span: Duration, at now: Instant) -> Int { ends.count { now - $0 < span } }
}

extension Node {
    /// nil: nobody has looked yet.
    public var storageWord: String? { storage.isKnown ? storage.state.word : nil }

    mutating func hearStorage(_ new: Storage, at now: Instant) {
        let old = storage.state
        storage.told(new, at: now)
        guard old.word != new.word else { return }
        if let text = new.text {
            notice(new.isTrouble ? .error : .warning, "storage: \(text)", [.init("was", old.word)])
        } else {
            notice(.info, "storage: writes come through again", [.init("was", old.word)])
        }
    }

    /// 4.3, 4.4: why no role comes here. Trouble that has just ended may come again, so it counts a while longer; free space is free at once.
    func storageTrouble(at now: Instant) -> Refusal? {
        if storage.state.isTrouble { return .storage(storage.state, well: nil) }
        guard let past = storage.past, let since = storage.pastSince, now - since < policy.storagePatience else { return nil }
        switch past {
        case .readOnly, .failing: return .storage(past, well: now - since)
        // A busy disk that has held one write up is as good as before.
        case .well, .low, .full, .gone, .hangs: return nil
        }
    }

    /// Nothing that is written here now becomes durable.
    var storageStopsCommits: Bool {
        switch storage.state {
        case .well, .low, .full: false
        case .readOnly, .failing, .hangs, .gone: true
        }
    }

    /// Trouble in which a primary cannot acknowledge any commit, and will not again by itself. A full disk is not: PostgreSQL goes on
    /// reading, space may be freed, and the standby's may be as full.
    func storageIsUnfit(at now: Instant) -> Bool {
        guard let since = storage.since else { return false }
        switch storage.state {
        case .well, .low, .full: return false
        case .readOnly, .failing: return true
        case .gone: return now - since > policy.streamPatience
        case .hangs: return now - max(since, storage.flushedAt ?? since) > policy.hangPatience
        }
    }

    /// A start could only fail, or, after a failed fsync, recover from what is not on the disk.
    func storageForbidsStart(at now: Instant) -> Bool {
        switch storageTrouble(at: now) {
        case .storage(.readOnly, _)?, .storage(.failing, _)?, .storage(.hangs, _)?: true
        default: false
        }
    }

    /// From a failed start to the next: on a full disk each of them fails alike, and costs the little that is left.
    var startRetry: Duration {
        if case .full = storage.state { return policy.storageRetry }
        return policy.retry
    }

    /// What this node tells the other one of its storage, who parts from it at once. One slow write is no reason: WAL may come through, and
    /// where it does not, the stream tells.
    func storageNote(at now: Instant) -> RefusalNote? {
        if case .hangs = storage.state, !storageIsUnfit(at: now) { return nil }
        return storageTrouble(at: now)?.note
    }

    func isInCrashLoop(at now: Instant) -> Bool {
        crashes.count(within: policy.crashLoopSpan, at: now) >= policy.crashLoopEnds
    }

    func storageRemarks(at now: Instant) -> [String] {
        var remarks: [String] = []
        if let trouble = storageTrouble(at: now) {
            remarks.append(trouble.text)
        } else if let text = storage.state.text {
            remarks.append("storage: \(text)")
        }
        if peer.isHeard(within: policy.silence, at: now), let note = peer.report?.storage {
            remarks.append("\(policy.peer): \(note.text)")
        }
        let ends = crashes.count(within: policy.crashLoopSpan, at: now)
        if ends >= policy.crashLoopEnds {
            remarks.append(
                "PostgreSQL has ended \(ends) times here within \(policy.crashLoopSpan.text): look into its log why; the role goes to"
                    + " \(policy.peer) as soon as it can take it")
        }
        return remarks
    }
}
