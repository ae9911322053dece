import TandemCore

// PostgreSQL on both hosts: clients, the stream between them, and what an agent sees of it.

extension World {
    func seen(_ host: SimHost) -> LocalPostgres {
        let own = host.postgres
        guard host.mark != nil else { return LocalPostgres(condition: .unusable("there is no data directory")) }
        var seen = LocalPostgres(condition: condition(own))
        seen.systemIdentifier = host.isForeign ? 78 : 77
        seen.majorVersion = host.hasOtherVersion ? 16 : 15
        seen.capacity = .init(
            connections: host.hasLowSettings ? 50 : 100, workers: 8, senders: 10, preparedTransactions: 0, locks: 64)
        seen.timeline = own.timeline
        seen.copy = host.mark
        seen.isDelayed = host.isDelayed
        if seen.isRunning {
            seen.synchronousStandbyNames = own.override ?? own.settings.synchronous?.synchronousStandbyNames ?? ""
        }
        let peer = other(host)
        let streams = now - own.streamedAt < 1_000_000_000
        if seen.isRunning, own.beat > 0 {
            let beat = seen.isRecovering ? own.pausedAt?.beat ?? own.beat : own.beat
            seen.row = HeartbeatRow(beat: beat, turn: second)
        }
        if seen.isOpen {
            seen.flushed = own.end
            if streams, peer.postgres.condition == .recovering || peer.isFrozen || isCut(host.party, peer.party), own.sent > 0 {
                seen.replicas = [
                    .init(
                        applicationName: peer.copy.applicationName, address: "", isStreaming: true,
                        isSynchronous: own.awaited == peer.copy, flushed: SimPostgres.position(own.confirmed),
                        replayed: SimPostgres.position(own.confirmed))
                ]
            }
        } else if seen.isRecovering {
            seen.received = own.end
            seen.replayed = own.pausedAt?.end ?? own.end
            seen.isReplayPaused = own.pausedAt != nil
            seen.isStreaming = streams
        }
        return seen
    }

    /// The heartbeat row is written and read once in each.
    private var second: UInt64 { UInt64(now / 1_000_000_000) }

    private func condition(_ postgres: SimPostgres) -> LocalPostgres.Condition {
        switch postgres.condition {
        case .stopped: .stopped
        case .starting: .starting("recovery")
        case .recovering: .running(isInRecovery: true)
        case .open: .running(isInRecovery: false)
        case .orphaned: .orphaned(processes: 3)
        case .hung: .silent(.seconds(11))
        }
    }

    func instanceIsUp(_ host: SimHost, _ start: Int) {
        guard host.isUp, host.postgres.start == start, case .starting(let open) = host.postgres.condition else { return }
        host.postgres.condition = open ? .open : .recovering
        if open {
            host.postgres.openedByAgent = true
            opened(host, "is started as primary")
        }
        observe(host, after: .milliseconds(random.below(5)))
    }

    func orphansEnd(_ host: SimHost, _ start: Int) {
        guard host.postgres.start == start, host.postgres.condition == .orphaned else { return }
        host.postgres.endAll()
    }

    /// The checkpointer switches `synchronous_standby_names` on later than a reload returns (`hazards.md` H90).
    func namesTakeEffect(_ host: SimHost, _ start: Int) {
        guard host.postgres.start == start else { return }
        // What the file says by then.
        host.postgres.awaitNow(host.postgres.settings.synchronous)
    }

    func streams(from source: SimHost, to sink: SimHost) -> Bool {
        connects(sink, to: source) && sink.postgres.isPrefix(of: source.postgres)
    }

    private func connects(_ sink: SimHost, to source: SimHost) -> Bool {
        !sink.postgres.isIsolated && source.isAlive && sink.isAlive && source.postgres.acceptsWrites
            && sink.postgres.condition == .recovering
            && !isCut(source.party, sink.party) && !isCut(sink.party, source.party)
            && (source.storage ?? .hangs) == .hangs && sink.storage == nil && source.aside == nil && sink.aside == nil
    }

    func stream() {
        for source in hosts {
            let sink = other(source)
            if source.postgres.condition == .open, source.postgres.beat < second,
                source.node.heartbeatRowTerm(at: source.clock.now(now).boot) != nil
            {
                source.postgres.beat = second
            }
            if connects(sink, to: source), sink.postgres.wouldMix(with: source.postgres) {
                violate(
                    .onlyData,
                    "\(sink.name) streams from \(source.name), both on timeline \(sink.postgres.timeline), and has a branch of its own"
                )
            }
            if streams(from: source, to: sink) {
                // What it had at the last exchange is confirmed with this one.
                source.postgres.confirmed = min(source.postgres.sent, sink.postgres.wal.count)
                let missing = source.postgres.wal.count - sink.postgres.wal.count
                let count = sink.streamIsThrottled ? min(missing, random.below(40) == 0 ? 2 : 0) : missing
                if count > 0 {
                    let from = sink.postgres.wal.count
                    sink.postgres.wal.append(contentsOf: source.postgres.wal[from..<from + count])
                }
                // The row is WAL behind all commits.
                if sink.postgres.wal.count == source.postgres.wal.count { sink.postgres.beat = source.postgres.beat }
                sink.postgres.timeline = source.postgres.timeline
                source.postgres.sent = sink.postgres.wal.count
                source.postgres.streamedAt = now
                sink.postgres.streamedAt = now
            }
            guard source.isAlive, (source.storage ?? .hangs) == .hangs, source.postgres.acceptsWrites,
                !source.postgres.waiting.isEmpty
            else { continue }
            var left: [(commit: Int32, place: Int)] = []
            for entry in source.postgres.waiting {
                let isConfirmed = source.postgres.awaited == sink.copy && source.postgres.confirmed >= entry.place
                if source.postgres.awaited == nil || isConfirmed {
                    acknowledge(entry.commit, source)
                } else {
                    left.append(entry)
                }
            }
            source.postgres.waiting = left
        }
    }

    /// Clients: through the primary address, and now and then by the host's own.
    func write() {
        guard isWriting else { return }
        for host in hosts where host.isAlive && host.storage == nil && host.postgres.acceptsWrites {
            if host.held.primary != .none, host.postgres.condition == .open, host.postgres.override == nil {
                // What waits for the standby is not seen yet; everything before it is.
                let seen = (host.postgres.waiting.first?.place ?? host.postgres.wal.count + 1) - 1
                // Promotions are no commits: behind one, the commits before it are seen all the same.
                if let last = host.postgres.wal[..<seen].last(where: { $0 > 0 }) { check.read = last }
            }
            guard host.held.primary != .none || random.chance(10), host.postgres.waiting.count < 20 else { continue }
            let commit = nextCommit
            nextCommit += 1
            host.postgres.wal.append(commit)
            if host.postgres.awaited == nil {
                acknowledge(commit, host)
            } else {
                host.postgres.waiting.append((commit, host.postgres.wal.count))
            }
        }
    }

    /// `pg_ctl restart` by somebody: `standby.signal` makes a standby of it.
    func restartedByHand(_ host: SimHost) {
        guard host.isAlive, host.postgres.condition == .open else { return }
        host.postgres.endAll()
        host.postgres.condition = .starting(open: false)
        host.postgres.awaitNow(host.postgres.settings.synchronous)
        later(.milliseconds(random.between(100, 500)), .instanceIsUp(host.party, start: host.postgres.start))
    }

    func postgresHangs(_ host: SimHost) {
        switch host.postgres.condition {
        case .open: host.postgres.condition = .hung(open: true)
        case .recovering: host.postgres.condition = .hung(open: false)
        case .stopped, .starting, .orphaned, .hung: break
        }
    }
}
