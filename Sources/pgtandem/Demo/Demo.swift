import Glibc
import TandemLab
import TandemSystem
import TandemWire

/// The story that `pgtandem demo` tells: a pair comes up, changes its roles, loses its primary's PostgreSQL, and is whole again.
struct Demo {
    private let screen: DemoScreen
    private let waitsForKey: Bool
    private let keeps: Bool
    private let lab: Lab
    private let script: LabScript

    init(screen: DemoScreen, waitsForKey: Bool, keeps: Bool) throws(LabError) {
        self.screen = screen
        self.waitsForKey = waitsForKey
        self.keeps = keeps
        lab = try Lab()
        script = LabScript(lab) { progress in
            if case .step(let text) = progress { screen.say("  \(text)") }
        }
    }

    /// Returns whether every promise held.
    func run() throws(LabError) -> Bool {
        do {
            let isSound = try play()
            if keeps { try stay() }
            screen.restore()
            try lab.stop()
            return isSound
        } catch {
            if screen.isInterrupted { throw error }
            screen.restore()
            for host in lab.hosts { screen.say(Self.lastWords(host)) }
            do { try lab.stop() } catch let cleaning { screen.say("the clean-up failed too: \(cleaning)") }
            throw error
        }
    }

    private func play() throws(LabError) -> Bool {
        screen.say(
            Terminal.bold("Two hosts, a client and a gateway on one switch; PostgreSQL \(LabPostgres.version) on both hosts."))
        try lab.start()
        try script.bringUp()
        let sniffer = try lab.startSniffer()
        let load = try lab.startLoad()
        let view = DemoView(screen: screen, script: script, lab: lab, load: load, sniffer: sniffer)
        try view.run(until: "clients write and read") { (load.counters()?.acknowledged ?? 0) > 200 }

        let (first, second) = (lab.hosts[0], lab.hosts[1])
        try scene("Switchover: the roles are exchanged, planned.", "pgtandem switchover", load, view, becomes: second) {
            () throws(LabError) in
            try script.command(on: first, ["switchover"])
        }
        try scene(
            "Crash: the postmaster of the primary is killed (SIGKILL); its host lives.", "kill -9 <postmaster> on \(second.name)",
            load, view,
            becomes: first
        ) { () throws(LabError) in try second.kill(.postmaster) }
        try scene(
            "And once more, back to \(second.name).", "pgtandem switchover --to \(second.name)", load, view, becomes: second
        ) {
            () throws(LabError) in try script.command(on: first, ["switchover", "--to", second.name])
        }
        return try verdict(load, sniffer)
    }

    /// One change of roles: what is done, until the pair is whole again, and what clients saw of it.
    private func scene(
        _ title: String, _ what: String, _ load: LabLoad, _ view: DemoView, becomes next: LabHost,
        _ act: () throws(LabError) -> Void
    ) throws(LabError) {
        screen.say("")
        screen.say(Terminal.bold(title))
        screen.say("  $ \(what)")
        if waitsForKey {
            screen.say("  press Enter")
            _ = readLine()
        }
        let began = SystemClock.now()
        let before = load.counters()?.acknowledged ?? 0
        try act()
        try view.run(until: "\(next.name) is primary and the pair is whole again") { view.isWhole(primary: next.name) }
        let whole = SystemClock.now()
        try view.run(until: "a second of calm") { SystemClock.now() - whole > 1_000_000_000 }
        let now = SystemClock.now()
        let log = try load.log()
        let writes = log.writeOutage(from: began, to: now)
        let reads = log.readOutage(from: began, to: now)
        let acknowledged = (load.counters()?.acknowledged ?? before) - before
        screen.say(
            "  writes were out for \(ms(writes.longestGap)) (usual gap \(ms(writes.usualGap))), reads for \(ms(reads.longestGap))"
        )
        screen.say(
            "  whole again after \(ms(.nanoseconds(whole - began))); \(acknowledged) commits acknowledged meanwhile, lost: \(try lost(log))"
        )
    }

    /// Acknowledged commits that are not in the table now.
    private func lost(_ log: ClientLog) throws(LabError) -> Int {
        Checker(log: log, rows: try Checker.rows(from: try lab.queryOnPrimary(LoadSpec.allRows))).check().lost ?? 0
    }

    private func verdict(_ load: LabLoad, _ sniffer: Sniffer) throws(LabError) -> Bool {
        let log = try load.stop()
        var checker = Checker(
            log: log, rows: try Checker.rows(from: try lab.queryOnPrimary(LoadSpec.allRows)), sightings: try sniffer.stop())
        for host in lab.hosts { checker.hostNames[host.hardwareAddress] = host.name }
        let report = checker.check()
        screen.say("")
        screen.say(Terminal.bold("What the clients and the network saw, all of it:"))
        screen.say(report.summary)
        if report.holds {
            screen.say("No acknowledged commit was lost, one host at a time acknowledged, no address was answered by both.")
        }
        return report.holds
    }

    private func stay() throws(LabError) {
        screen.say("")
        screen.say("Both hosts are up. In another terminal, as root:")
        for host in lab.hosts {
            screen.say("  \(host.name):  nsenter -t $(cat \(host.pidPath)) -a -- \(lab.options.binary) status")
        }
        screen.say("Enter or Ctrl-C ends it.")
        _ = readLine()
    }

    private static func lastWords(_ host: LabHost) -> String {
        do {
            let log = String(decoding: try DurableFile.read(host.serviceLogPath, limit: 64 << 20) ?? [], as: UTF8.self)
            return "last lines of the agent on \(host.name):\n" + log.split(separator: "\n").suffix(15).joined(separator: "\n")
        } catch {
            return "the agent's log of \(host.name) could not be read: \(error)"
        }
    }

    private func ms(_ duration: Duration) -> String {
        let tenths = (duration / .microseconds(100)).rounded()
        return "\(Int(tenths) / 10).\(Int(tenths) % 10) ms"
    }
}
