import TandemLab
import TandemSystem

/// One change of roles: what is done to the pair, and what must come of it.
struct DemoScene {
    /// Something that a hand does.
    struct Deed {
        /// As a person would say or type it.
        var words: String
        /// Shown in the live view beside that host's name until it is mended.
        var mark: (host: String, text: String)?
        var act: () throws(LabError) -> Void
    }

    var title: String
    var old: LabHost
    var next: LabHost
    var deed: Deed
    /// Puts right what was broken, once the other one serves alone; nil: nothing is left to do.
    var mending: Deed?
    /// What decided, of the first part and of the second one.
    var decided: (DemoEvidence) throws(LabError) -> [String]
}

extension DemoScene {
    static func switchover(from old: LabHost, to next: LabHost, _ act: @escaping () throws(LabError) -> Void) -> DemoScene {
        DemoScene(
            title: "Switchover: the roles are exchanged, planned.", old: old, next: next,
            deed: Deed(words: "pgtandem switchover", act: act),
            decided: { evidence throws(LabError) in try evidence.handedOver(by: old, because: "a person asked") })
    }

    static func crash(of old: LabHost, next: LabHost) -> DemoScene {
        DemoScene(
            title: "Crash: the primary's postmaster is killed; its host lives.", old: old, next: next,
            deed: Deed(words: "kill -9 <postmaster> on \(old.name)") { () throws(LabError) in try old.kill(.postmaster) },
            decided: { evidence throws(LabError) in try evidence.handedOver(by: old, because: "the agent saw it end") })
    }

    static func powerLoss(of old: LabHost, next: LabHost, lease: @escaping () -> Duration) -> DemoScene {
        DemoScene(
            title: "Power: the primary's host loses it. Nobody gives an order.", old: old, next: next,
            deed: Deed(words: "power off \(old.name)") { () throws(LabError) in try old.powerOff() },
            mending: Deed(words: "power on \(old.name)") { () throws(LabError) in try old.boot() },
            decided: { evidence throws(LabError) in
                try evidence.granted(to: next, instead: old, lease: lease()) + evidence.cameBack(old)
            })
    }

    static func cut(of old: LabHost, next: LabHost, in lab: Lab, lease: @escaping () -> Duration) -> DemoScene {
        DemoScene(
            title: "Cut off: the primary runs on, but nobody reaches it any more.", old: old, next: next,
            deed: Deed(
                words: "cut \(old.name) off: from \(next.name), the witness, the gateway, the clients",
                mark: (old.name, "cut off")
            ) { () throws(LabError) in try lab.isolate(LabPort(old.name)) },
            mending: Deed(words: "heal the network") { () throws(LabError) in try lab.heal() },
            decided: { evidence throws(LabError) in
                try evidence.guarded(old) + evidence.granted(to: next, instead: old, lease: lease()) + evidence.cameBack(old)
            })
    }
}
