/// Which managed settings stand in the file, and which are on their way.
struct SettingsKeeper: Hashable, Sendable, Codable {
    var written: Settings?
    var pending: Pending?
    var notBefore: Instant?

    struct Pending: Hashable, Sendable, Codable {
        var settings: Settings
        var operation: OperationID
    }

    mutating func completed(_ ended: OperationID, _ outcome: Outcome, at retry: Instant) -> Bool {
        guard let pending, pending.operation == ended else { return false }
        self.pending = nil
        if case .failed = outcome {
            notBefore = retry
        } else {
            written = pending.settings
            notBefore = nil
        }
        return true
    }
}

extension Node {
    /// The settings follow the DURABLE ledger, so commits stop waiting only after `sole` is on disk, and wait before `paired` is
    /// written (4.1 step 3, 4.2 step 1; mistake 15).
    mutating func keepSettings(at now: Instant) {
        guard settings.pending == nil, now >= settings.notBefore ?? now, let wanted = wantedSettings(at: now),
            wanted != settings.written
        else { return }
        let operation = nextOperation()
        settings.pending = .init(settings: wanted, operation: operation)
        order(.configure(wanted, operation))
    }

    /// nil: leave them as they are.
    private func wantedSettings(at now: Instant) -> Settings? {
        guard let ledger, let mark = postgres?.copy, mark.node == policy.node else { return nil }
        let own = mark.copy
        let heard = peer.isLinked ? peer.report?.postgres.copy.flatMap { $0.node == policy.peer ? $0.copy : nil } : nil
        // A `paired` of ours is on its way to the disk: nothing may empty the names before it is known whether it arrived.
        let promised = writing?.primary == policy.node ? writing?.standbyCopy : nil
        switch state {
        case .handingOver, .stopping, .halted:
            return nil
        case .waiting, .standby, .promoting:
            // Nothing is written while the role moves but the end of waiting; on a standby the names have no effect, and however
            // it is promoted, it is protected from its first moment (4.4).
            let other = ledger.primary == policy.node ? ledger.standbyCopy ?? ledger.paused?.awaited : ledger.primaryCopy
            return Settings(copy: own, synchronous: synchronous(promised ?? other), slot: nil)
        case .primary(let primary):
            let waitedFor: CopyID? =
                switch primary.pairing {
                case .idle, .retrying: emptiesEarly ? nil : promised ?? ledger.standbyCopy ?? ledger.paused?.awaited
                case .configuring(let copy), .confirming(let copy, _): copy
                case .arming(let paired), .writing(let paired): paired.standbyCopy
                }
            return Settings(
                copy: own, synchronous: synchronous(waitedFor),
                slot: dropsSlot(at: now)
                    ? nil
                    : joining?.copy ?? heard ?? joined ?? ledger.standbyCopy ?? ledger.paused?.standby ?? settings.written?.slot)
        }
    }

    /// 4.5: before the WAL that an absent standby, or one that cannot write, will ask for fills the disk, it is no longer kept; that
    /// standby comes back by a new copy if it is away for too long.
    private func dropsSlot(at now: Instant) -> Bool {
        guard ledger?.bond == .sole, joining == nil, postgres?.replicas.contains(where: \.isStreaming) == false,
            isAwayForLong(at: now) || (peer.isHeard(within: policy.silence, at: now) && peer.report?.storage != nil)
        else { return false }
        switch storage.state {
        case .low, .full: return true
        case .well, .readOnly, .failing, .hangs, .gone: return false
        }
    }

    /// A standby that is not heard for some seconds may be about to come, and needs the WAL.
    private func isAwayForLong(at now: Instant) -> Bool {
        guard case .primary(let primary) = state, now - primary.since > policy.slotPatience else { return false }
        return peer.silence(at: now).map { $0 > policy.slotPatience } ?? true
    }

    /// The settings of the present state are in the file, and nothing older is on its way there.
    func settingsAreInPlace(at now: Instant) -> Bool {
        settings.pending == nil && (wantedSettings(at: now).map { $0 == settings.written } ?? true)
    }

    private var emptiesEarly: Bool {
        guard flaw == .namesEmptiedBeforeSole, case .primary(let primary) = state else { return false }
        return primary.parting != nil
    }

    private func synchronous(_ copy: CopyID?) -> CopyID? { policy.mode == .synchronous ? copy : nil }
}
