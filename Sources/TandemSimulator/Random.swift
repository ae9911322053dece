/// SplitMix64 (Steele, Lea, Flood 2014): the only chance in a simulation, all of it from one seed.
struct Random: Sendable {
    private var state: UInt64
    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// From 0 up to, not including, `bound`.
    mutating func below(_ bound: Int) -> Int { bound <= 1 ? 0 : Int(next() % UInt64(bound)) }
    mutating func between(_ low: Int, _ high: Int) -> Int { low + below(high - low + 1) }
    mutating func chance(_ percent: Int) -> Bool { below(100) < percent }
    mutating func chance(permille: Int) -> Bool { below(1000) < permille }
    mutating func pick<T>(_ list: [T]) -> T { list[below(list.count)] }

    /// A span with more weight near its lower end, as delays have.
    mutating func span(_ low: Duration, _ high: Duration) -> Duration {
        let a = below(1000), b = below(1000)
        return low + (high - low) * min(a, b) / 1000
    }
}
