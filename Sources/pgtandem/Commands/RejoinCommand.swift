import ArgumentParser
import TandemRuntime
import TandemSystem
import TandemWire

struct RejoinCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rejoin",
        abstract: "Bring this node back as the standby now.",
        discussion: """
            On the host that is not primary. It comes back by itself as a rule; this ends the waiting for the window of `rejoin:`, or after a \
            failure. With --fresh by a new copy, also if it follows well: the old directory is kept beside the new one. \
            Example: pgtandem rejoin --fresh
            """)

    @OptionGroup var common: CommonOptions
    @Flag(help: "By a new copy of the primary's data, whatever the directory here is like.") var fresh = false
    @Flag(help: "Do not wait until it is back; `pgtandem status` tells how far it is.") var noWait = false

    func run() throws {
        let configuration = try common.load()
        let before = try StatusCommand.fetch(configuration.controlSocket)
        let began = SystemClock.now()
        Terminal.say(
            try ControlRelay(configuration.controlSocket).run(ControlRequest(command: "rejoin", fresh: fresh), what: "rejoin"))
        if noWait || (!fresh && before.role == "standby" && before.bond == "paired") { return }
        try follow(configuration.controlSocket, began)
    }

    /// Until the pair is whole again: what is under way, once for each step, and every few seconds how far it is.
    private func follow(_ socket: String, _ began: Int64) throws {
        var said = "", told = Int64(0), wasAway = false
        while true {
            let status = try StatusCommand.fetch(socket)
            guard status.role == "standby" || status.role == "none" else {
                throw CommandFailure.failed(
                    "rejoin: this node's role is \(status.role) now, so there is nothing to wait for any more: look at `pgtandem history`"
                )
            }
            wasAway = wasAway || status.bond == "sole"
            if wasAway, status.role == "standby", status.bond == "paired" {
                Terminal.say(
                    "\(status.node) is back as the standby, paired (after \((SystemClock.now() - began) / 1_000_000) ms)")
                return
            }
            let step = status.rejoin.map { "\($0.by) \($0.step)" } ?? ""
            if let rejoin = status.rejoin, step != said || SystemClock.now() - told > 5_000_000_000 {
                Terminal.say(RejoinText(rejoin).text)
                (said, told) = (step, SystemClock.now())
            }
            if let failure = status.notes.first(where: { $0.hasPrefix("not back yet: ") }) {
                throw CommandFailure.failed(
                    "rejoin: \(failure). It is tried again by itself; what it waits for stands in `pgtandem status`")
            }
            // For the reader's eyes; nothing is synchronised by it.
            _ = SystemClock.wait(upTo: .milliseconds(500), step: .milliseconds(250)) { false }
        }
    }
}
