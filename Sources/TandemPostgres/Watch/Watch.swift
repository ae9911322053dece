import Synchronization
import TandemCore
import TandemSystem

/// Watches this host's instance and delivers what it sees, from a thread of its own that never waits for PostgreSQL or a disk.
///
/// Three threads: this one keeps the clock and delivers; one asks the kept session and reads files; one opens a new session
/// about every second, and at once when the kept one failed. The end of the postmaster comes by pidfd, at once.
public final class Watch: Sendable {
    public struct Patience: Hashable, Sendable {
        /// From a look to the next; while the server does not answer also the longest time between two deliveries.
        public var interval: Duration = .milliseconds(100)
        /// The same while the server answers and nothing was done to it lately. Far below `answer`.
        public var calmInterval: Duration = .milliseconds(100)
        /// The same while its WAL grows: as often as somebody is told of the positions, which limits are compared with (4.6).
        public var busyInterval: Duration = .milliseconds(100)
        /// The longest time between two deliveries of a server that answers and says the same as before: whoever is told again and again
        /// that nothing has changed decides nothing anew.
        public var repetition: Duration = .milliseconds(500)
        /// From a new session to the next while the kept one answers.
        public var newSessions: Duration = .seconds(1)
        /// How long an answer counts as news; longer without any is `silent`.
        public var answer: Duration = .milliseconds(500)
        /// The kept session answers and no new one does: after this long it is `silent` all the same. Longer than a
        /// storm of connections holds a new one up.
        public var newSessionAnswer: Duration = .seconds(5)
        /// One statement of the kept session; the start of one new session.
        public var statement: Duration = .seconds(2)
        public init() {}
    }

    let settings: InstanceSettings
    let patience: Patience
    let processes: InstanceProcesses
    let state = Mutex(WatchState())
    let bell: Bell
    private let deliver: @Sendable (LocalPostgres) -> Void
    let looks = Lane(name: "pg look")
    private let knocks = Lane(name: "pg knock", isPatient: true)
    private let ended: Bell

    /// - Parameter deliver: called in the watch's thread at every change, and again and again without one; it must be quick.
    public init(
        _ settings: InstanceSettings, patience: Patience = Patience(),
        deliver: @escaping @Sendable (LocalPostgres) -> Void
    ) throws(SystemError) {
        self.settings = settings
        self.patience = patience
        self.deliver = deliver
        PlaceNote(settings).recall()
        processes = InstanceProcesses(settings.dataDirectory)
        bell = try Bell()
        ended = try Bell()
    }

    /// Begins; the first delivery follows the first look.
    public func start() throws(SystemError) {
        try OwnThread.start("pg watch") { self.run() }
    }

    /// Looks at once, at files too: after something was done to the instance.
    public func poke() {
        state.withLock { state in
            state.nextLook = 0
            state.nextKnock = state.kept == nil ? 0 : state.nextKnock
            state.readCopyMark = true
            state.wasActedOn()
        }
        bell.ring()
    }

    /// What is known of the heartbeat row from now on: part of what is delivered.
    public func note(_ heartbeat: HeartbeatKeeper.Finding) {
        let isNews = state.withLock { state in
            guard state.postmaster != nil, state.heartbeat != heartbeat else { return false }
            state.heartbeat = heartbeat
            return true
        }
        if isNews { bell.ring() }
    }

    /// Ends the threads and the kept session; nothing is delivered after it returned.
    public func stop() {
        state.withLock { state in
            state.isStopping = true
            state.interruption?.ring()
        }
        bell.ring()
        ended.wait()
        looks.stop()
        knocks.stop()
        let session = state.withLock { state in
            let session = state.kept
            state.forgetServer()
            return session
        }
        session?.close()
    }

    private func run() {
        var deliveredAt: Int64 = 0
        while true {
            bell.clear()
            let now = SystemClock.now()
            if state.withLock({ $0.isStopping }) { break }
            beginWhatIsDue(now)
            let due: LocalPostgres? = state.withLock { state in
                let view = state.view(now, patience: patience.answer, newSessionPatience: patience.newSessionAnswer)
                // Before the first look there is nothing to say.
                let isDue =
                    state.delivered.map { now >= deliveredAt + state.spacing(now, patience) || !$0.says(the: view) }
                    ?? state.isFresh
                guard isDue else { return nil }
                state.delivered = view
                return view
            }
            if let due {
                deliveredAt = now
                deliver(due)
            }
            let next = state.withLock { state in
                // Nothing yet, or a look that hangs: the clock goes on.
                let step = now + patience.interval.inNanoseconds
                guard state.delivered != nil else { return step }
                return min(deliveredAt + state.spacing(now, patience), state.nextChange(now, patience) ?? step)
            }
            bell.wait(upTo: .nanoseconds(max(0, next - SystemClock.now())))
        }
        ended.ring()
    }

    private func beginWhatIsDue(_ now: Int64) {
        let (look, knock) = state.withLock { state in
            let knock = state.postmaster != nil && state.knockBegun == nil && now >= state.nextKnock
            if knock { state.knockBegun = now }
            return (state.beginsLook(now, patience), knock)
        }
        if look { looks.submit { self.look() } }
        if knock { knocks.submit { self.knock() } }
    }

    /// Called by the kernel's notice, in a thread of its own.
    func postmasterEnded(_ postmaster: Postmaster) {
        // /proc only: the disk may be what has died.
        let left = processes.all()
        state.withLock { state in
            guard state.postmaster == postmaster else { return }
            state.forgetServer()
            state.facts.condition = left.isEmpty ? .stopped : .orphaned(processes: left.count)
            state.orphansSince = left.isEmpty ? nil : 0
            state.nextLook = 0
        }
        bell.ring()
    }
}

extension Duration {
    /// Our durations are far below the 292 years that fit.
    var inNanoseconds: Int64 {
        let (seconds, attoseconds) = components
        return min(seconds, 1_000_000_000) * 1_000_000_000 + attoseconds / 1_000_000_000
    }
}
