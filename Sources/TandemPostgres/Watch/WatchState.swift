import TandemCore
import TandemSystem

/// Everything the watch knows, under one lock. Times are readings of `SystemClock`.
struct WatchState: Sendable {
    /// The facts of the last answer, or of the files when there is no server.
    var facts = LocalPostgres(condition: .starting("not looked at yet"))
    /// The heartbeat row, which another thread looks after.
    var heartbeat = HeartbeatKeeper.Finding()
    /// The postmaster that lives, as far as we know.
    var postmaster: Postmaster?
    /// Kept only so that the notification lives as long as the postmaster is watched.
    var notification: ProcessEnd?
    /// Rings when this postmaster has ended: calls that wait for it give up.
    var interruption: Bell?
    var kept: Session?

    /// When the server last said anything, and when it last answered a NEW session: a stopped postmaster with busy old
    /// sessions still writes, and takes nobody new (`hazards.md` H64).
    var lastAnswer: Int64 = 0
    var lastNewSession: Int64 = 0

    var lookBegun: Int64?
    var knockBegun: Int64?
    var nextLook: Int64 = 0
    var nextKnock: Int64 = 0
    var nextFrame: Int64 = 0
    var readCopyMark = true
    /// Processes without a postmaster were seen once: a server that just starts looks the same for a moment.
    var orphansSince: Int64?
    /// Its WAL has grown by more than a quiet server's own since the look before.
    var isBusy = false
    /// Something was learnt.
    var isFresh = false
    /// What was told last; nil: nothing so far.
    var delivered: LocalPostgres?
    /// Until then it is told at each interval, news or not.
    var repeatsUntil: Int64 = 0
    var isStopping = false

    /// The postmaster ended, or another one took its place.
    mutating func forgetServer() {
        postmaster = nil
        notification?.cancel()
        notification = nil
        interruption?.ring()
        interruption = nil
        kept = nil
        facts.flushed = nil
        facts.received = nil
        facts.replayed = nil
        facts.isStreaming = false
        facts.replicas = []
        facts.synchronousStandbyNames = nil
        facts.isReplayPaused = nil
        heartbeat = .init()
        readCopyMark = true
        isFresh = true
    }

    mutating func heard(_ condition: LocalPostgres.Condition, _ now: Int64, byNewSession: Bool) {
        lastAnswer = now
        if byNewSession { lastNewSession = now }
        facts.condition = condition
        isFresh = true
    }

    /// Something was done to the instance, and whoever did it may be told what was so before, behind what we say.
    mutating func wasActedOn() { repeatsUntil = SystemClock.after(.seconds(1)) }

    /// Between two deliveries without news.
    func spacing(_ now: Int64, _ patience: Watch.Patience) -> Int64 {
        (isCalm(now) ? patience.repetition : patience.interval).inNanoseconds
    }

    /// From one look to the next.
    func pause(_ now: Int64, _ patience: Watch.Patience) -> Int64 {
        guard isCalm(now) else { return patience.interval.inNanoseconds }
        return (isBusy ? patience.busyInterval : patience.calmInterval).inNanoseconds
    }

    /// The server answers, and nothing was done to it lately.
    func isCalm(_ now: Int64) -> Bool { now >= repeatsUntil && delivered?.isRunning == true }

    /// Whether it is time to look, and nobody does: then the caller looks.
    mutating func beginsLook(_ now: Int64, _ patience: Watch.Patience) -> Bool {
        guard lookBegun == nil, now >= nextLook else { return false }
        lookBegun = now
        nextLook = now + patience.interval.inNanoseconds
        return true
    }

    /// When the clock alone makes a difference: an answer gets too old, or a new session is due. nil: it does so already.
    func nextChange(_ now: Int64, _ patience: Watch.Patience) -> Int64? {
        guard postmaster != nil else { return .max }
        let silence =
            1
            + min(
                lastAnswer + patience.answer.inNanoseconds, lastNewSession + patience.newSessionAnswer.inNanoseconds)
        let change = min(silence, knockBegun == nil ? nextKnock : .max)
        return change > now ? change : nil
    }

    /// The facts as of now: silence is seen by looking at the clock.
    func view(_ now: Int64, patience: Duration, newSessionPatience: Duration) -> LocalPostgres {
        var view = facts
        view.row = heartbeat.row
        view.rowTrouble = heartbeat.trouble
        guard postmaster != nil else { return view }
        let silence = Duration.nanoseconds(now - lastAnswer)
        let refusal = Duration.nanoseconds(now - lastNewSession)
        if silence > patience {
            view.condition = .silent(silence)
        } else if refusal > newSessionPatience {
            view.condition = .silent(refusal)
        }
        return view
    }
}

extension LocalPostgres {
    /// How far any of its positions is from where it was.
    func growth(since before: LocalPostgres) -> UInt64 {
        func distance(_ position: KeyPath<LocalPostgres, LSN?>) -> UInt64 {
            guard let from = before[keyPath: position]?.bytes, let to = self[keyPath: position]?.bytes else { return 0 }
            return max(from, to) - min(from, to)
        }
        return max(distance(\.flushed), distance(\.received), distance(\.replayed))
    }

    /// The same but for the length of a silence, which grows all the time.
    func says(the other: LocalPostgres) -> Bool {
        guard case .silent = condition, case .silent = other.condition else { return self == other }
        var copy = other
        copy.condition = condition
        return self == copy
    }
}
