import Glibc
import Synchronization
import TandemSystem

/// The thread that announces held addresses again and again, and hears whether another host claims them (hazard: two hosts
/// with one address; the one with authority keeps announcing until the other is silent).
final class AddressKeeper: Sendable {
    private let table: AddressTable
    private let voice: Voice
    private let addresses: [IPAddress]
    private let onEvent: @Sendable (AddressEvent) -> Void
    private let stopping: Bell
    private let changed: Bell
    private let plan = Mutex(Plan())

    private struct Plan {
        /// Nil: not announced yet.
        var lastAnnounced: Int64?
        var nextDue = Int64.max
        var repetitions = 0
        var running = true
    }

    /// After the first announcement, then every `interval`. Some switches learn late after a link came up.
    private static let repetitions: [Duration] = [.milliseconds(100), .milliseconds(300), .seconds(1), .seconds(2)]
    private static let interval = Duration.seconds(30)
    /// Two hosts that both defend an address must not flood the segment.
    private static let shortestInterval = Duration.milliseconds(500)
    private static let conflictSilence = Duration.seconds(5)
    private static let failureSilence = Duration.seconds(30)

    init(
        table: AddressTable, voice: Voice, addresses: [IPAddress], onEvent: @escaping @Sendable (AddressEvent) -> Void
    ) throws(SystemError) {
        self.table = table
        self.voice = voice
        self.addresses = addresses
        self.onEvent = onEvent
        stopping = try Bell()
        changed = try Bell()
        // Opened here: an answer to a probe sent right after this must not be missed. Without an interface there is none
        // to hear; the thread tries again.
        let segment: Segment?
        do throws(SystemError) {
            segment = try hear()
        } catch {
            // The thread tries again and tells; the addresses are worth more than hearing about others.
            segment = nil
        }
        try OwnThread.start("keep addresses", isPatient: true) { self.run(segment) }
    }

    /// No announcement is sent after it returned.
    func stop() {
        plan.withLock { $0.running = false }
        stopping.ring()
    }

    /// Asks the segment who has them; answers come as conflicts.
    func probe() -> SystemError? {
        do throws(SystemError) {
            try voice.probe(addresses)
            return nil
        } catch {
            return error
        }
    }

    /// Announces now and begins the repetitions anew. The error is told, and the repetitions come nevertheless.
    func announceNow() -> SystemError? {
        let failure = plan.withLock { plan in
            plan.repetitions = 0
            return send(&plan)
        }
        changed.ring()
        return failure
    }

    /// Under the lock, so that nothing leaves after `stop()`.
    private func send(_ plan: inout Plan) -> SystemError? {
        guard plan.running else { return nil }
        let now = SystemClock.now()
        let before = plan.repetitions
        let schedule = AddressKeeper.repetitions
        let step: Duration
        if before < schedule.count {
            step = before == 0 ? schedule[0] : schedule[before] - schedule[before - 1]
        } else {
            step = AddressKeeper.interval
        }
        plan.repetitions = min(before + 1, schedule.count)
        plan.lastAnnounced = now
        plan.nextDue = now + step.nanoseconds
        do throws(SystemError) {
            // The guard, the kernel (a lifetime that ran out) or a person may have taken one away since: whoever announces what he does not
            // have draws the clients of the one who has it.
            let ours = try present()
            if !ours.isEmpty { try voice.announce(ours) }
            return nil
        } catch {
            return error
        }
    }

    // MARK: In the thread

    private func run(_ first: Segment?) {
        var segment = first
        var heardConflict: [NeighbourClaim: Int64] = [:]
        var toldFailure: Int64?
        func fail(_ error: SystemError) {
            let now = SystemClock.now()
            if let toldFailure, now - toldFailure < AddressKeeper.failureSilence.nanoseconds { return }
            toldFailure = now
            onEvent(.announcingFails(error))
        }
        while true {
            let now = SystemClock.now()
            var due = plan.withLock { $0.nextDue }
            // A lost listener is opened again within a second.
            if segment == nil { due = min(due, now + 1_000_000_000) }
            let numbers = [stopping.number, changed.number] + (segment?.numbers ?? [])
            let ready = Poll.readable(numbers, upTo: due == .max ? nil : .nanoseconds(max(0, due - now)))
            if ready[0] { return }
            changed.clear()
            do throws(SystemError) {
                if segment == nil { segment = try hear() }
                if let claims = try segment?.claims(), !claims.isEmpty { try judge(claims, &heardConflict) }
            } catch {
                segment = nil
                fail(error)
            }
            let failure = plan.withLock { plan in SystemClock.now() >= plan.nextDue ? send(&plan) : nil }
            if let failure { fail(failure) }
        }
    }

    private func present() throws(SystemError) -> [IPAddress] {
        let there = Set(try table.addresses().map(\.address))
        return addresses.filter { there.contains($0) }
    }

    private func hear() throws(SystemError) -> Segment? {
        guard let facts = try table.facts(), facts.hasNeighbours else { return nil }
        return try Segment(facts, hearing: addresses)
    }

    private func judge(_ claims: [NeighbourClaim], _ heard: inout [NeighbourClaim: Int64]) throws(SystemError) {
        let concerning = Set(claims.filter { addresses.contains($0.address) })
        guard !concerning.isEmpty else { return }
        let own = try table.ownHardwareAddresses()
        let foreign = concerning.filter { !own.contains($0.mac) }
        // What was taken away since it was announced is rightly another one's. Before the first announcement it is being taken.
        if plan.withLock({ $0.lastAnnounced != nil }), try present().isEmpty { return }
        guard !foreign.isEmpty else { return }
        // Ours must be the last word: at once, or as soon as the shortest interval allows.
        plan.withLock { plan in
            let soonest = (plan.lastAnnounced ?? 0) + AddressKeeper.shortestInterval.nanoseconds
            plan.nextDue = min(plan.nextDue, max(SystemClock.now(), soonest))
        }
        let now = SystemClock.now()
        heard = heard.filter { now - $0.value < AddressKeeper.conflictSilence.nanoseconds }
        for claim in foreign.sorted(by: { $0.mac.description < $1.mac.description }) where heard[claim] == nil {
            heard[claim] = now
            onEvent(.conflict(claim.address, claim.mac))
        }
    }
}
