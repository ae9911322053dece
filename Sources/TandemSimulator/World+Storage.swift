import TandemCore

/// Trouble with the disk below the data directory.
package enum StorageFault: String, Hashable, Sendable, Codable, CaseIterable {
    case full, readOnly, failing, hangs
}

extension World {
    func storageFails(_ host: SimHost, _ fault: StorageFault) {
        host.storage = fault
        host.storageSince = now
        // The canary looks once a second, and waits for three before it says that a write hangs.
        tellStorage(host, after: fault == .hangs ? .seconds(3) : .milliseconds(random.between(1, 1000)))
        switch fault {
        // PostgreSQL gives up at the first WAL that it cannot write, and it may be the first to notice.
        case .readOnly, .failing, .full:
            guard host.postgres.condition == .open, random.chance(60) else { return }
            later(.milliseconds(random.between(1, 1500)), .panics(host.party, start: host.postgres.start))
        case .hangs: break
        }
    }

    func storageIsWell(_ host: SimHost) {
        guard host.storage != nil else { return }
        host.storage = nil
        host.storageSince = now
        tellStorage(host, after: .milliseconds(random.between(1, 1000)))
    }

    func panics(_ host: SimHost, _ start: Int) {
        guard host.isUp, host.postgres.start == start, host.storage != nil else { return }
        postmasterDies(host, false)
    }

    func tellStorage(_ host: SimHost, after delay: Duration = .zero) {
        let hangsFor = Duration.nanoseconds(now - (host.storageSince ?? now)) + delay
        let state: Storage =
            switch host.storage {
            case nil: .well
            case .full: .full("the disk is full")
            case .readOnly: .readOnly("the file system is read-only")
            case .failing: .failing("the disk fails")
            case .hangs: .hangs("writes do not come back", for: hangsFor)
            }
        tell(host, .storage(state), after: delay)
    }

    /// Why an order cannot be carried out on this disk; nil: it can.
    func storageRefuses(_ host: SimHost, _ effect: Effect) -> String? {
        guard let storage = host.storage else { return nil }
        switch effect {
        case .start, .promote, .rejoin, .checkpoint: return "the storage takes no writes"
        case .stop: return storage == .hangs && host.postgres.hasProcesses ? "processes do not end, not even by SIGKILL" : nil
        case .findEndOfWAL, .receiveWAL: return storage == .failing ? "the disk fails" : nil
        default: return nil
        }
    }
}

// For stories.
extension World {
    /// The canary's word alone: nothing else has happened.
    package func tellsStorage(_ storage: Storage, at host: SimHost) { tell(host, .storage(storage)) }

    /// By the host's own clock.
    package func present(_ host: SimHost) -> Instant { host.clock.now(now).boot }

    /// Whose WAL is kept there.
    package func slot(_ host: SimHost) -> CopyID? { host.postgres.settings.slot }
}
