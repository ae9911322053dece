import Glibc
import TandemSystem
import Testing

@testable import TandemLinux

/// What the service manager runs when the agent's or the guard's service has ended.
@Suite(.serialized, .enabled(if: GuardedHost.canRun, "needs root and the program beside the tests"))
struct GuardLastActTests {
    let host: GuardedHost
    init() throws { host = try GuardedHost() }

    /// Runs it to its end.
    private func lastAct(deadline: Duration = .seconds(10)) throws -> (text: String, duration: Int64) {
        let begun = SystemClock.now()
        let arguments = GuardLaunch.arguments(host.scope, boardPath: host.boardPath).dropFirst() + ["--last-act"]
        let all = ["netns", "exec", host.namespace.name, GuardedHost.binary] + arguments
        let result = try Tool("/usr/sbin/ip", all).run(deadline: deadline)
        #expect(result.succeeded, "\(result)")
        return (result.output, SystemClock.now() - begun)
    }

    /// An agent that armed and is no more, and its guard, too.
    @discardableResult
    private func leaveArmed(_ span: Duration) throws -> GuardDeadline {
        let guardian = try host.startGuard()
        let client = try host.client(spawn: { _ in })
        let until = GuardDeadline.after(span)
        try host.arm(client, until)
        client.close()
        ProcessTable.signal(guardian, SIGKILL)
        #expect(soon { host.guards().isEmpty })
        return until
    }

    @Test func withNothingArmedItEndsAtOnce() throws {
        try host.startInstance()
        #expect(try lastAct().text.contains("no board"))
        let client = try host.client()
        #expect(try lastAct().text.contains("nothing is armed"))
        try host.arm(client, nil)
        client.close()
        #expect(try lastAct().text.contains("nothing is armed"), "no lease was given")
        #expect(host.instance().count == 21)
    }

    @Test func withAGuardAtWorkItEndsAtOnce() throws {
        try host.startInstance()
        let client = try host.client()
        try host.arm(client, .after(.seconds(60)))
        client.close()
        #expect(try lastAct().text.contains("a guard is at work"))
        #expect(host.instance().count == 21)
    }

    @Test func withNobodyLeftItActsAtTheDeadline() throws {
        try host.startInstance()
        try host.takeAddresses()
        let until = try leaveArmed(.milliseconds(700))
        let told = try lastAct()
        #expect(told.text.contains("21 processes of the instance killed, 2 addresses removed"), "\(told.text)")
        #expect(SystemClock.now() >= until.boot - 100_000_000)
        #expect(host.instance().isEmpty)
        #expect(try host.heldAddresses() == 0)
        #expect(try lastAct().text.contains("nothing is armed"), "once for each deadline")
    }

    @Test func afterTheDeadlineItActsAtOnce() throws {
        try host.startInstance()
        try leaveArmed(.milliseconds(250))
        #expect(host.staysUntouched(.milliseconds(300)))
        #expect(try lastAct().text.contains("21 processes"))
    }

    @Test func ifAGuardComesBackItLeavesTheWorkToIt() throws {
        try host.startInstance()
        try leaveArmed(.seconds(60))
        let host = host
        let done = Seen<String>()
        // Both services have ended: two at once, and neither takes the other for a guard.
        for _ in 0..<2 {
            try OwnThread.start("last act") {
                do { done.add(try lastAct().text) } catch { Issue.record(error) }
            }
        }
        #expect(soon { host.guards().count == 2 })
        #expect(!soon(.milliseconds(300)) { !done.all.isEmpty })
        try host.startGuard()
        #expect(soon { done.all.count == 2 })
        #expect(done.all.allSatisfy { $0.contains("a guard is at work") })
        #expect(host.instance().count == 21)
    }

    @Test func aStoppedGuardDoesNotCount() throws {
        try host.startInstance()
        let pid = try host.startGuard()
        let client = try host.client(spawn: { _ in })
        try host.arm(client, .after(.milliseconds(2500)))
        client.close()
        ProcessTable.signal(pid, SIGSTOP)
        let looked = try host.board().looked
        #expect(soon { SystemClock.now() - looked > 1_050_000_000 })
        #expect(try lastAct().text.contains("21 processes"))
        #expect(ProcessTable.startTime(of: pid) == nil)
    }

    /// Whether it was armed cannot be known.
    @Test func withSomebodyElsesBytesInTheBoardItActsAtOnce() throws {
        try host.startInstance()
        try DurableFile.write([UInt8](repeating: 9, count: 4096), to: host.boardPath, mode: 0o600)
        #expect(try lastAct().text.contains("21 processes"))
    }
}
