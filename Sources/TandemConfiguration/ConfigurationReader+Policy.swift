import TandemCore
import Yams

/// The sections that say how the pair behaves.
extension ConfigurationReader {
    func readLimits() -> Configuration.Limits? {
        let section = root.section("limits")
        let promote = readLag(section.section("promote"), bytes: 16 << 20, age: .seconds(60))
        let handover = section.section("handover").value("bytes", default: 16 << 20, Self.someBytes)
        let staleness = section.value("max_staleness", default: .seconds(30), Self.someTime)
        let part = section.section("return_standby_address")
        let comeBack = readLag(part, bytes: 4 << 20, age: .seconds(5))
        guard let promote, let handover, let staleness, let comeBack else { return nil }
        guard comeBack.age <= staleness else {
            let entry = part.values["age"] ?? section.values["max_staleness"]
            reader.report(
                "the standby would get its address back at an age of \(DurationText.text(comeBack.age)) and lose it again at "
                    + "\(DurationText.text(staleness)) (`limits.max_staleness`)",
                at: entry?.value.position ?? entry?.key, key: part.fullKey("age"),
                advice: "Give an age of at most \(DurationText.text(staleness)), or a greater `max_staleness`.")
            return nil
        }
        return Configuration.Limits(
            promote: promote, handoverBytes: handover, maxStaleness: staleness, returnStandbyAddress: comeBack)
    }

    private func readLag(_ section: Section, bytes: Int64, age: Duration) -> Configuration.Limits.Lag? {
        let bytes = section.value("bytes", default: bytes, Self.someBytes)
        let age = section.value("age", default: age, Self.someTime)
        guard let bytes, let age else { return nil }
        return Configuration.Limits.Lag(bytes: bytes, age: age)
    }

    private static func someBytes(_ text: String) throws(ValueError) -> Int64 {
        let bytes = try SizeText.parse(text)
        guard bytes > 0 else {
            throw ValueError("`\(text)`: no standby is ever that near", advice: "Write a size above zero, for example `16MB`.")
        }
        return bytes
    }

    private static func someTime(_ text: String) throws(ValueError) -> Duration {
        let time = try DurationText.parse(text)
        guard time > .zero else {
            throw ValueError("`\(text)`: no standby is ever that near", advice: "Write a time above zero, for example `5s`.")
        }
        return time
    }

    private enum Offered: String, CaseIterable { case witness, manual }

    func readArbiter() -> Configuration.Arbiter? {
        let why = "what decides when the two hosts cannot hear each other is a choice that nobody makes for you"
        let section = root.requiredSection(
            "arbiter", example: "{ kind: witness, witness: { address: 10.77.0.13 } }", why: why)
        let kind = section.required("kind", example: "witness", why: why) { text throws(ValueError) -> ArbiterKind in
            if ["etcd", "fencing"].contains(text) {
                throw ValueError(
                    "this version does not have the arbiter `\(text)` yet",
                    advice:
                        "Write `witness`: a small program on a third machine decides. Or `manual`: a person who knows that the other "
                        + "host is off promotes this one with `pgtandem failover --peer-is-down`.")
            }
            let offered: Offered = try Section.word(text)
            switch offered {
            case .witness: return .witness
            case .manual: return .manual
            }
        }
        guard section.values["witness"] != nil || kind?.value == .witness else {
            return kind.map { Configuration.Arbiter(kind: $0.value) }
        }
        let place = section.requiredSection(
            "witness", example: "{ address: 10.77.0.13 }", why: "where `pgtandem witness` runs: on neither of the two hosts")
        let address = place.required("address", example: "10.77.0.13", AddressText.address)
        let port = place.number("port", default: 7433, IntegerText.port)
        guard let kind, let address, let port else { return nil }
        return Configuration.Arbiter(
            kind: kind.value, witness: Configuration.Arbiter.Witness(address: address.value, port: port))
    }

    /// Shorter ones meet a busy server, whose answers take a second now and then.
    static func patience(_ text: String) throws(ValueError) -> Duration {
        let time = try DurationText.parse(text)
        guard time >= .seconds(2), time <= .seconds(3600) else {
            throw ValueError(
                "a patience of \(DurationText.text(time)) with a server that answers nothing is out of range",
                advice: "Write 2s to 1h; usual is 10s.")
        }
        return time
    }

    /// A profile; or a heartbeat, and a lease if one likes.
    func readTiming() -> Configuration.Timing? {
        let section = root.section("timing")
        let lease = section.values["lease"]
        guard let heartbeat = section.values["heartbeat"] else {
            if let lease {
                let isProfile = section.values["profile"] != nil
                reader.report(
                    isProfile ? "the profile sets the lease" : "a lease needs the heartbeat that it fits to", at: lease.key,
                    key: "timing.lease",
                    advice: isProfile
                        ? "Remove it, or write `heartbeat` and `lease` instead of `profile`." : "Add `heartbeat`; usual is 200ms."
                )
                return nil
            }
            return section.word("profile", default: Configuration.Timing.Profile.standard).map { Configuration.Timing($0) }
        }
        guard section.values["profile"] == nil else {
            reader.report(
                "`profile` and `heartbeat` say the same thing", at: heartbeat.key, key: "timing.heartbeat",
                advice: "Keep one of them.")
            return nil
        }
        let pace = section.value("heartbeat", default: .zero, Self.heartbeat)
        let span = section.value("lease", default: nil) { text throws(ValueError) -> Duration? in try Self.lease(text) }
        guard let pace, let span else { return nil }
        let timing = Configuration.Timing(heartbeat: pace, lease: span)
        guard timing.durations.isSound else {
            refuse(timing, at: lease ?? heartbeat, isLeaseGiven: lease != nil)
            return nil
        }
        return timing
    }

    private func refuse(_ timing: Configuration.Timing, at entry: Entry, isLeaseGiven: Bool) {
        let least = DurationText.text(timing.leastLease)
        let given = isLeaseGiven ? "" : ", as it is ten heartbeats unless `lease` is given"
        reader.report(
            "the lease is too short\(given): \(timing.durations.inequality)", at: entry.value.position ?? entry.key,
            key: isLeaseGiven ? "timing.lease" : "timing.heartbeat",
            advice: isLeaseGiven
                ? "Write a lease of at least \(least), or a shorter heartbeat."
                : "Write a longer heartbeat, or add `lease: \(least)` or more.")
    }

    /// Below 10 ms the scheduler's own delays look like silence; above 10 s nobody would learn of a failure in time.
    private static func heartbeat(_ text: String) throws(ValueError) -> Duration {
        let time = try DurationText.parse(text)
        guard time >= .milliseconds(10), time <= .seconds(10) else {
            throw ValueError(
                "a heartbeat every \(DurationText.text(time)) is out of range", advice: "Write 10ms to 10s; usual is 200ms.")
        }
        return time
    }

    /// How short it may be is the inequality's matter. As long as it is, nobody takes over from a primary that died.
    private static func lease(_ text: String) throws(ValueError) -> Duration {
        let time = try DurationText.parse(text)
        guard time <= .seconds(600) else {
            throw ValueError(
                "a lease of \(DurationText.text(time)) is out of range: so long would writes be out when the primary's host dies",
                advice: "Write 10min at most; usual is 2s, ten heartbeats.")
        }
        return time
    }

    static func nodeOrNone(_ text: String) throws(ValueError) -> NodeName? {
        text == "none" ? nil : NodeName(try NameText.node(text))
    }

    func readFailback() -> Configuration.Failback? {
        let section = root.section("failback")
        let window = section.value("window", default: DailyWindow.always, DailyWindow.parse)
        let notice = section.value("notice", default: .seconds(30)) { text throws(ValueError) -> Duration in
            let time = try DurationText.parse(text)
            guard time >= .seconds(1), time <= .seconds(86_400) else {
                throw ValueError(
                    "a notice of \(DurationText.text(time)) is out of range", advice: "Write 1s to 1d; usual is 30s.")
            }
            return time
        }
        guard let window, let notice else { return nil }
        return Configuration.Failback(window: window, notice: notice)
    }

    func readRejoin() -> Configuration.Rejoin? {
        let section = root.section("rejoin")
        let bandwidth = section.value("bandwidth", default: nil) { text throws(ValueError) -> Int64? in
            if text == "unlimited" { return nil }
            let bytes = try SizeText.parse(text.hasSuffix("/s") ? String(text.dropLast(2)) : text)
            // What pg_basebackup takes (PostgreSQL manual, "--max-rate").
            guard (32 << 10...1 << 30).contains(bytes) else {
                throw ValueError("`\(text)` is out of range", advice: "Write `unlimited`, or 32kB to 1GB a second.")
            }
            return bytes
        }
        let window = section.value("window", default: DailyWindow.always, DailyWindow.parse)
        let kept = section.section("diverged")
        let age = kept.value("age", default: .seconds(30 * 86_400), Self.someSpan)
        let bytes = kept.value("bytes", default: 16 << 30) { text throws(ValueError) in try SizeText.parse(text) }
        guard let bandwidth, let window, let age, let bytes else { return nil }
        return Configuration.Rejoin(bandwidth: bandwidth, window: window, divergedAge: age, divergedBytes: bytes)
    }

    private static func someSpan(_ text: String) throws(ValueError) -> Duration {
        let time = try DurationText.parse(text)
        guard time >= .seconds(3600) else {
            throw ValueError(
                "what was lost would be gone after \(DurationText.text(time))", advice: "Write at least 1h; usual is 30d.")
        }
        return time
    }

    func readLog() -> Configuration.Log? {
        let section = root.section("log")
        let format = section.word("format", default: Configuration.Log.Format.text)
        let level = section.word("level", default: Configuration.Log.Level.info)
        guard let format, let level else { return nil }
        return Configuration.Log(format: format, level: level)
    }
}
