import TandemLab

/// What happens to a pair while clients write.
enum BenchKind: String, CaseIterable, Encodable {
    /// The postmaster is killed; its host lives.
    case crash
    case switchover
    /// The primary's host loses its power.
    case powerOff
    /// Nobody reaches the primary's host any more, nor it anybody.
    case cutOff
    /// Every process of the primary's PostgreSQL stands still.
    case hang

    /// What a script does that is told what happened: only of these there is a floor.
    var hasFloor: Bool { self == .crash || self == .switchover }

    /// For people.
    var words: String {
        switch self {
        case .crash, .switchover, .hang: rawValue
        case .powerOff: "power off"
        case .cutOff: "cut off"
        }
    }
}

/// The timing that a pair is configured with.
enum BenchProfile: String, CaseIterable, Encodable {
    case standard, fast

    var lease: Duration { self == .standard ? .seconds(2) : .milliseconds(400) }
}

/// One row of the result.
struct BenchCase: Hashable {
    var kind: BenchKind
    var profile: BenchProfile

    /// What a configuration of the bench says: PostgreSQL may hang so long.
    static let hangPatience = Duration.seconds(3)
    /// Beside what has to be waited for.
    static let allowance = Duration.milliseconds(500)
    /// Where nothing has to be waited for, ours may be so many times the floor.
    static let ratioLimit = 3.0

    /// Crash and switchover wait for no lease: one profile is enough.
    static let all = BenchProfile.allCases.flatMap { profile in
        BenchKind.allCases.filter { profile == .standard || !$0.hasFloor }.map { BenchCase(kind: $0, profile: profile) }
    }

    /// In milliseconds, of the longest run; nil: the floor is the measure.
    var limit: Double? {
        let waited: Duration? =
            switch kind {
            case .crash, .switchover: nil
            case .powerOff, .cutOff: profile.lease
            case .hang: Self.hangPatience
            }
        return waited.map { ($0 + Self.allowance) / .milliseconds(1) }
    }

    var words: String { kind.hasFloor ? kind.words : "\(kind.words), \(profile.rawValue)" }
}
