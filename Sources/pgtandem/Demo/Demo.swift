import Glibc
import TandemLab
import TandemSystem
import TandemWire

/// The story that `pgtandem demo` tells: a pair comes up, changes its roles, loses its primary's PostgreSQL, its host and its network,
/// and is whole again each time.
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
        lab = try Lab(LabOptions(hasWitness: true))
        var configuration = LabConfiguration()
        configuration.arbiterKind = "witness"
        script = LabScript(lab, configuration: configuration) { progress in
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
        screen.say(Terminal.bold("Two hosts with PostgreSQL \(LabPostgres.version), a witness, a gateway, a client: one switch."))
        try lab.start()
        try script.bringUp()
        let sniffer = try lab.startSniffer()
        let load = try lab.startLoad()
        let view = DemoView(screen: screen, script: script, lab: lab, load: load, sniffer: sniffer)
        let (a, b) = (lab.hosts[0], lab.hosts[1])
        try view.run(until: "clients write and read, and the pair is whole") {
            (load.counters()?.acknowledged ?? 0) > 200 && view.isWhole(primary: a.name)
        }
        screen.say("  \(a.name) is primary: clients write through \(Lab.primaryAddress)")
        screen.say("  \(b.name) is standby: clients read through \(Lab.standbyAddress)")
        let scenes: [DemoScene] = [
            .switchover(from: a, to: b) { [script] () throws(LabError) in try script.command(on: a, ["switchover"]) },
            .crash(of: b, next: a),
            .powerLoss(of: a, next: b, lease: { view.lease }),
            .cut(of: b, next: a, in: lab, lease: { view.lease }),
        ]
        for scene in scenes { try play(scene, load, view) }
        return try verdict(load, sniffer)
    }

    /// What is done, until the pair is whole again, what decided, and what clients saw of it.
    private func play(_ scene: DemoScene, _ load: LabLoad, _ view: DemoView) throws(LabError) {
        screen.say("")
        screen.say(Terminal.bold(scene.title))
        screen.say("  $ \(scene.deed.words)")
        if waitsForKey {
            screen.say("  press Enter")
            _ = readLine()
        }
        let before = load.counters()?.acknowledged ?? 0
        let evidence = try DemoEvidence(lab.hosts)
        let began = SystemClock.now()
        view.mark = scene.deed.mark
        try scene.deed.act()
        var mended = began
        if let mending = scene.mending {
            try view.run(until: "\(scene.next.name) serves alone") { view.isAlone(primary: scene.next.name) }
            screen.say("  \(scene.next.name) serves alone, with both addresses")
            try view.calm()
            screen.say("  $ \(mending.words)")
            mended = SystemClock.now()
            try mending.act()
            view.mark = nil
        }
        try view.run(until: "\(scene.next.name) is primary and the pair is whole again") {
            view.isWhole(primary: scene.next.name)
        }
        let whole = SystemClock.now()
        try view.calm()
        let now = SystemClock.now()
        let log = try load.log()
        let (writes, reads) = (log.writeOutage(from: began, to: now), log.readOutage(from: began, to: now))
        let acknowledged = (load.counters()?.acknowledged ?? before) - before
        tell("decided by", try scene.decided(evidence))
        tell(
            "clients saw",
            [
                "writes out for \(DemoText.span(writes.longestGap)), reads for \(DemoText.span(reads.longestGap))",
                "(between two commits usually \(DemoText.span(writes.usualGap)))",
            ])
        tell("whole again", ["\(DemoText.span(.nanoseconds(whole - mended))) after that"])
        tell("lost", ["\(try lost(log)) of \(acknowledged) commits acknowledged meanwhile"])
    }

    private func tell(_ name: String, _ lines: [String]) {
        for (number, line) in lines.enumerated() {
            let first = number == 0 ? name + ":" : ""
            screen.say("  " + first + String(repeating: " ", count: 13 - first.count) + line)
        }
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
        for line in report.summary.split(separator: "\n").flatMap({ $0.split(separator: ";") }) {
            screen.say("  " + line.drop { $0 == " " })
        }
        if report.holds {
            screen.say("No acknowledged commit was lost, one host at a time acknowledged,")
            screen.say("no address was answered by both.")
        }
        return report.holds
    }

    private func stay() throws(LabError) {
        screen.say("")
        screen.say("All hosts are up. In another terminal, as root:")
        for host in lab.hosts {
            screen.say("  \(host.name):  nsenter -t $(cat \(host.pidPath)) -a -- \(LabHost.programPath) status")
        }
        screen.say("  w:  nsenter -t $(cat \(try lab.witness.pidPath)) -a -- /bin/sh")
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
}
