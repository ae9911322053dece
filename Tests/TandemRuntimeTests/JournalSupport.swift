import Foundation
import Logging
import Synchronization
import TandemCore
import TandemSystem
import TandemWire
import Testing

@testable import TandemRuntime

/// A folder of its own for one test.
func withScratch<Value>(_ body: (_ folder: String) throws -> Value) throws -> Value {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("pgtandem-journal-\(Random.word())").path
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer {
        do { try FileManager.default.removeItem(atPath: folder) } catch {
            Issue.record("\(folder) could not be removed: \(error)")
        }
    }
    return try body(folder)
}

/// What was logged, level first.
final class SeenLog: Sendable {
    private let lines = Mutex<[String]>([])
    var all: [String] { lines.withLock { $0 } }
    func logger() -> Logger { Logger(label: "test") { _ in Handler(log: self) } }

    private struct Handler: LogHandler {
        let log: SeenLog
        var metadata: Logger.Metadata = [:]
        var logLevel: Logger.Level = .info
        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }
        func log(event: LogEvent) { log.lines.withLock { $0.append("\(event.level): \(event.message)") } }
    }
}

/// A world that does what it is told, at once.
struct ObedientWorld: PostgresPort, AddressPort, LedgerPort, LinkPort, GuardPort {
    let sent = SentFrames()

    func start(_ mode: Effect.StartMode) throws {}
    func stop(_ mode: Effect.StopMode) throws {}
    func promote() throws -> (timeline: Timeline, fork: LSN) { (4, LSN(0x300_0060)) }
    func configure(_ settings: Settings) throws {}
    func confirmSynchronous(_ copy: CopyID) throws -> LSN { LSN(1) }
    func confirmPosition(_ copy: CopyID) throws {}
    func checkpoint() throws {}
    func requireCopy(_ copy: CopyID) throws {}
    func findEndOfWAL(from start: LSN) throws -> LSN { start }
    func receivedWAL() throws -> ReceivedWAL {
        ReceivedWAL(position: LSN(1), replayed: LSN(1), timeline: 3, isStreaming: false)
    }
    func readWAL(_ timeline: Timeline, from position: LSN, count: Int) throws -> [UInt8] { [] }
    func writeWAL(_ timeline: Timeline, _ bytes: [UInt8], at position: LSN) throws {}
    func recordLineage(term: Term, copy: CopyID, parent: Term, fork: LSN, timeline: Timeline) throws {}
    func look() -> LocalPostgres { JournalStory.instance(.stopped) }
    func claim(_ role: AddressRole, regardless: Bool) throws {}
    func release(_ role: AddressRole) throws {}
    func tellHeld(_ tell: (Event.Held) -> Void) throws { tell(.init(primary: .none, standby: .none)) }
    func survey() throws -> Survey { .plain }
    func rejoin(_ way: RejoinWay, endedBy bell: Bell?) throws {}
    func beat(_ lifetimes: AddressLifetimes) {}
    func arm(until: Moment?) throws {}
    func extend(until: Moment) {}
    func release() throws {}
    func write(_ ledger: Ledger, _ notes: Notes) throws {}
    func send(_ kind: UInt8, _ payload: [UInt8]) { sent.frames.withLock { $0.append((false, kind, payload)) } }
    func sendInTurn(_ kind: UInt8, _ payload: [UInt8]) { sent.frames.withLock { $0.append((true, kind, payload)) } }
    func sendOnce(_ kind: UInt8, _ payload: [UInt8]) {}
}

final class SentFrames: Sendable {
    let frames = Mutex<[(isInTurn: Bool, kind: UInt8, payload: [UInt8])]>([])
}

/// A node, the events that it meets, and what it orders: B, the standby of a pair with the arbiter `manual`.
struct JournalStory {
    static let copyA = CopyID(high: 1, low: 7)
    static let copyB = CopyID(high: 2, low: 7)
    static let paired = Ledger(
        cluster: "orders", term: Term(8), step: 2, primary: "a", bond: .paired, primaryCopy: copyA, standbyCopy: copyB,
        arbiter: .manual)
    private static let sessions = Heartbeat.Header(sender: SessionID(11), receiver: SessionID(22))

    private(set) var node = Node(policy: Policy(cluster: "orders", node: "b", peer: "a", mode: .synchronous))
    private(set) var entries: [JournalEntry] = []
    private var boot: Int64 = 5_000_000_000
    private var heartbeats: UInt64 = 0
    private var held = Event.Held(primary: .none, standby: .none)
    /// So many entries' orders are carried out.
    private var carriedOut = 0

    mutating func feed(_ event: Event, after span: Duration = .milliseconds(10)) {
        boot += span.nanoseconds
        let moment = Moment(boot: Instant(nanoseconds: boot), raw: Instant(nanoseconds: boot - 1_000_000))
        let before = node
        let effects = node.step(event, at: moment)
        entries.append(
            JournalEntry(
                event: event, moment: moment, wall: 1_785_000_000_000 + boot / 1_000_000, before: before, effects: effects))
    }

    static func instance(_ condition: LocalPostgres.Condition) -> LocalPostgres {
        var seen = LocalPostgres(condition: condition)
        seen.systemIdentifier = 7_712_257_865_395_371_799
        seen.majorVersion = 15
        seen.timeline = 3
        seen.copy = .init(copy: copyB, node: "b")
        seen.received = LSN(0x300_0060)
        seen.replayed = LSN(0x300_0060)
        if seen.isOpen { seen.flushed = LSN(0x300_0060) }
        seen.isStreaming = seen.isRecovering
        return seen
    }

    static func heartbeat(_ number: UInt64) -> Event {
        var postgres = LocalPostgres(condition: .running(isInRecovery: false))
        postgres.systemIdentifier = 7_712_257_865_395_371_799
        postgres.majorVersion = 15
        postgres.timeline = 3
        postgres.flushed = LSN(0x300_0060 + number * 100)
        postgres.replicas = [
            .init(
                applicationName: copyB.applicationName, address: "10.77.0.12", isStreaming: true, isSynchronous: true,
                flushed: LSN(0x300_0060 + number * 100), replayed: LSN(0x300_0060))
        ]
        var report = PeerReport(role: .primary, boot: BootID("a23a3cb8-5eb0-66e7-cd28-8524ecae43e8"), postgres: postgres)
        report.holdsPrimaryAddress = true
        report.standbyAddressHolder = "b"
        return .heartbeat(
            Heartbeat(number: number, ledger: paired, report: report, acknowledged: number, ask: nil, answer: nil), sessions)
    }

    mutating func start() {
        feed(.started(.init(session: SessionID(22), boot: BootID("boot 1"), ledger: Self.paired)))
        feed(.addresses(.init(primary: .none, standby: .none)))
        feed(.postgres(Self.instance(.running(isInRecovery: true))))
        feed(.configurationsCompared(differing: []))
        feed(.hello(session: SessionID(11)))
        carryOut()
    }

    /// A second of an ordinary life: heartbeats, looks, ticks.
    mutating func second() {
        for _ in 0..<5 {
            feed(.tick, after: .milliseconds(100))
            heartbeats += 1
            feed(Self.heartbeat(heartbeats), after: .milliseconds(50))
            feed(.postgres(Self.instance(.running(isInRecovery: true))), after: .milliseconds(50))
            carryOut()
        }
    }

    /// A is silent for two seconds; a person vouches that it is off, and B is promoted.
    mutating func promotedByWord() {
        for _ in 0..<10 { feed(.tick, after: .milliseconds(200)) }
        feed(.command(.failover(acceptDataLoss: false), RequestID(1)))
        carryOut()
    }

    /// Every order succeeds at once.
    private mutating func carryOut() {
        while carriedOut < entries.count, entries.count < 10_000 {
            for effect in entries[carriedOut].effects {
                switch effect {
                case .writeLedger(let ledger, _): feed(.ledgerWritten(ledger))
                case .promote(let id):
                    feed(.completed(id, .promoted(timeline: 4, fork: LSN(0x300_0060))))
                    feed(.postgres(Self.instance(.running(isInRecovery: false))))
                case .claimAddress(let role, _, _, let id):
                    if role == .primary { held.primary = .all } else { held.standby = .all }
                    feed(.addresses(held))
                    feed(.completed(id, .done))
                default: if let id = effect.operation { feed(.completed(id, .done)) }
                }
            }
            carriedOut += 1
        }
    }

    static func whole() -> JournalStory {
        var story = JournalStory()
        story.start()
        story.second()
        story.promotedByWord()
        return story
    }
}

extension JournalWriter {
    init(_ folder: String, limitBytes: Int = 1 << 20, program: String = "0.1.0", log: Logger = SeenLog().logger()) {
        self.init(folder: folder, program: program, limitBytes: limitBytes, retry: .zero, log: log)
    }

    mutating func write(_ entries: [JournalEntry]) { for entry in entries { write(entry) } }
}

/// A file replayed to its end.
struct Replayed {
    var items: [ReplayItem] = []
    var summary: ReplaySummary

    init(_ path: String) throws {
        var replay = Replay(try JournalReader(path, program: "0.1.0"))
        while let item = replay.next() { items.append(item) }
        summary = replay.summary
    }

    var steps: [ReplayStep] {
        items.compactMap { if case .event(let step) = $0 { step } else { nil } }
    }
    var beginnings: [ReplayBeginning] {
        items.compactMap { if case .beginning(let beginning) = $0 { beginning } else { nil } }
    }
    var torn: [Int] {
        items.compactMap { if case .torn(let line) = $0 { line } else { nil } }
    }
    /// Everything as a person reads it.
    var text: String { items.map { ReplayScreen().text($0) }.joined(separator: "\n") }
}

func lines(_ path: String) throws -> [String] {
    try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
}

func rewrite(_ path: String, _ change: (inout [String]) -> Void) throws {
    var all = try lines(path)
    change(&all)
    try Data(all.joined(separator: "\n").utf8).write(to: URL(fileURLWithPath: path))
}
