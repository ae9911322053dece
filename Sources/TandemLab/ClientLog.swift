/// A commit that a server acknowledged.
public struct AcknowledgedCommit: Sendable, Equatable {
    public var writer: Int
    public var seq: Int64
    /// The node that acknowledged it (last part of its `cluster_name`).
    public var node: String
    /// The timeline it was written on: each is written by one node only.
    public var timeline: UInt32
    /// CLOCK_BOOTTIME of the machine that the lab runs on, nanoseconds; so are all times of the log.
    public var sent: Int64
    public var acknowledged: Int64

    public init(writer: Int, seq: Int64, node: String, timeline: UInt32, sent: Int64, acknowledged: Int64) {
        self.writer = writer
        self.seq = seq
        self.node = node
        self.timeline = timeline
        self.sent = sent
        self.acknowledged = acknowledged
    }
}

/// A commit without acknowledgement: it may be there (uncertain), or must not (refused by an error of the server).
public struct UnacknowledgedCommit: Sendable, Equatable {
    public var writer: Int
    public var seq: Int64
    public var sent: Int64
    public var ended: Int64
    /// SQLSTATE, `deadline`, `connection`, or `warning` (a cancelled wait for the standby).
    public var reason: String

    public init(writer: Int, seq: Int64, sent: Int64, ended: Int64, reason: String) {
        self.writer = writer
        self.seq = seq
        self.sent = sent
        self.ended = ended
        self.reason = reason
    }
}

/// A read through the standby address.
public struct AnsweredRead: Sendable, Equatable {
    public var reader: Int
    public var node: String
    public var inRecovery: Bool
    public var sent: Int64
    public var answered: Int64

    public init(reader: Int, node: String, inRecovery: Bool, sent: Int64, answered: Int64) {
        self.reader = reader
        self.node = node
        self.inRecovery = inRecovery
        self.sent = sent
        self.answered = answered
    }
}

/// One line of the log.
public enum ClientEntry: Sendable, Equatable {
    case acknowledged(AcknowledgedCommit)
    case uncertain(UnacknowledgedCommit)
    case refused(UnacknowledgedCommit)
    case read(AnsweredRead)
    /// Who: `w3`, `r1`. The same error again within a second is left out.
    case error(who: String, at: Int64, kind: String, text: String)

    var line: String {
        switch self {
        case .acknowledged(let it): "A \(it.writer) \(it.seq) \(it.node) \(it.timeline) \(it.sent) \(it.acknowledged)"
        case .uncertain(let it): "U \(it.writer) \(it.seq) \(it.sent) \(it.ended) \(it.reason)"
        case .refused(let it): "X \(it.writer) \(it.seq) \(it.sent) \(it.ended) \(it.reason)"
        case .read(let it): "R \(it.reader) \(it.node) \(it.inRecovery ? 1 : 0) \(it.sent) \(it.answered)"
        case .error(let who, let at, let kind, let text):
            "E \(who) \(at) \(kind) \(text.split(whereSeparator: \.isNewline).joined(separator: " "))"
        }
    }

    /// Nil: no line of ours, or cut off.
    init?(line: Substring) {
        let words = line.split(separator: " ", maxSplits: 6)
        func number(_ index: Int) -> Int64? { index < words.count ? Int64(words[index]) : nil }
        switch (words.first, words.count) {
        case ("A", 7):
            guard let writer = number(1), let seq = number(2), let timeline = UInt32(words[4]), let sent = number(5),
                let acknowledged = number(6)
            else { return nil }
            self = .acknowledged(
                AcknowledgedCommit(
                    writer: Int(writer), seq: seq, node: String(words[3]), timeline: timeline, sent: sent,
                    acknowledged: acknowledged))
        case ("U", 6), ("X", 6):
            guard let writer = number(1), let seq = number(2), let sent = number(3), let ended = number(4) else { return nil }
            let commit = UnacknowledgedCommit(
                writer: Int(writer), seq: seq, sent: sent, ended: ended, reason: String(words[5]))
            self = words[0] == "U" ? .uncertain(commit) : .refused(commit)
        case ("R", 6):
            guard let reader = number(1), let recovery = number(3), let sent = number(4), let answered = number(5)
            else { return nil }
            self = .read(
                AnsweredRead(
                    reader: Int(reader), node: String(words[2]), inRecovery: recovery == 1, sent: sent, answered: answered))
        case ("E", 4...):
            guard let at = number(2) else { return nil }
            self = .error(
                who: String(words[1]), at: at, kind: String(words[3]), text: words[4...].joined(separator: " "))
        default: return nil
        }
    }
}

/// What clients saw: the truth that everything else is judged by.
public struct ClientLog: Sendable {
    /// In the order of their acknowledgements.
    public var acknowledged: [AcknowledgedCommit] = []
    public var uncertain: [UnacknowledgedCommit] = []
    public var refused: [UnacknowledgedCommit] = []
    /// In the order of their answers.
    public var reads: [AnsweredRead] = []
    public var errors: [(who: String, at: Int64, kind: String, text: String)] = []

    public init() {}

    /// A last line without its end (the client is writing) is left out.
    public init(_ text: String) {
        var lines = text.split(separator: "\n", omittingEmptySubsequences: true)
        if !text.hasSuffix("\n") { _ = lines.popLast() }
        for line in lines {
            switch ClientEntry(line: line) {
            case .acknowledged(let commit): acknowledged.append(commit)
            case .uncertain(let commit): uncertain.append(commit)
            case .refused(let commit): refused.append(commit)
            case .read(let read): reads.append(read)
            case .error(let who, let at, let kind, let text): errors.append((who, at, kind, text))
            case .none: continue
            }
        }
        sort()
    }

    /// For logs put together by hand.
    public mutating func sort() {
        acknowledged.sort { ($0.acknowledged, $0.writer) < ($1.acknowledged, $1.writer) }
        reads.sort { ($0.answered, $0.reader) < ($1.answered, $1.reader) }
    }

    /// Of a client process; parts of the same file may be read while it grows.
    public static func read(_ path: String) throws(LabError) -> ClientLog {
        guard let text = Text.read(path) else {
            throw LabError(attempted: "read the client's log \(path)", happened: "it is not there")
        }
        return ClientLog(text)
    }
}
