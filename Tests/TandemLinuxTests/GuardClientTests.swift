import CLinux
import Glibc
import Synchronization
import TandemSystem
import Testing

@testable import TandemLinux

/// The agent's side: how it finds, starts, replaces and watches a guard.
@Suite(.serialized, .enabled(if: GuardedHost.canRun, "needs root and the program beside the tests"))
struct GuardClientTests {
    let host: GuardedHost
    init() throws { host = try GuardedHost() }

    @Test func armingStartsAGuardIfThereIsNoneInTime() throws {
        try host.startInstance()
        let client = try host.client()
        #expect(client.status.pid == nil && !client.status.isArmed && !client.wasArmed && client.heldDeadline == nil)
        let begun = SystemClock.now()
        let until = GuardDeadline.after(.milliseconds(500))
        try host.arm(client, until)
        print("guard: started and armed in \((SystemClock.now() - begun) / 1000) µs")
        #expect(client.status.answers && client.status.isByAgent && client.status.isOfThisScope && client.status.boardIsInMemory)
        #expect(try #require(host.silence(client, until)) <= until.boot)
        client.close()
    }

    @Test func theGuardThatItStartsHasNothingOfTheAgents() throws {
        var blocked = sigset_t()
        sigfillset(&blocked)
        let client = try host.client()
        let host = host
        let ours = Descriptor(open("/dev/null", O_RDONLY))
        // As from a thread of an agent: all signals blocked, a file open that is inherited.
        #expect(fcntl(ours.number, F_SETFD, 0) == 0)
        try host.arm(client, nil)
        let pid = try #require(client.status.pid)
        let status = String(decoding: try DurableFile.read("/proc/\(pid)/status") ?? [], as: UTF8.self)
        let fields = Dictionary(
            uniqueKeysWithValues: status.split(separator: "\n").compactMap { line -> (String, String)? in
                let parts = line.split(separator: ":", maxSplits: 1)
                return parts.count == 2 ? (String(parts[0]), parts[1].filter { $0 != "\t" && $0 != " " }) : nil
            })
        #expect(fields["SigBlk"] == "0000000000000000")
        #expect(fields["PPid"] != "\(getpid())", "not our child")
        #expect(getsid(pid) != getsid(0))
        let files = try TwoHosts.run("/bin/ls", ["-l", "/proc/\(pid)/fd"])
        #expect(!files.contains("xctest"))
        let inherited = try TwoHosts.run("/bin/sh", ["-c", "for f in /proc/\(pid)/fd/[012]; do readlink $f; done"]).split(
            separator: "\n")
        #expect(inherited.prefix(2) == ["/dev/null", "/dev/null"])
        let nulls = files.split(separator: "\n").count { $0.hasSuffix("-> /dev/null") }
        #expect(nulls <= 3, "the file that was open here is not open there:\n\(files)")
        #expect(ProcessTable.resolved("/proc/\(pid)/cwd") == "/")
        client.close()
    }

    @Test func whenTheGuardDiesItIsToldAtOnceAndTheNextArmingFindsAnother() throws {
        try host.startInstance()
        let ended = Seen<String>()
        let client = try host.client(ended: ended)
        try host.arm(client, .after(.seconds(60)))
        #expect(soon { client.status.hasSpare })
        let first = try #require(client.status.pid)
        let begun = SystemClock.now()
        ProcessTable.signal(first, SIGKILL)
        #expect(SystemClock.wait(upTo: .seconds(5), step: .microseconds(200)) { !ended.all.isEmpty })
        let told = SystemClock.now() - begun
        try host.arm(client, nil)
        print("guard: its death told after \(told / 1000) µs, another one armed after \((SystemClock.now() - begun) / 1000) µs")
        #expect(ended.all == ["the guard \(first) has ended"])
        #expect(client.status.pid != first && client.status.answers)
        #expect(try #require(client.status.deadline).boot > SystemClock.after(.seconds(50)), "the deadline that was armed stays")
        #expect(host.instance().count == 21)
        client.close()
    }

    /// A start takes long on a busy host; so one stands by, and so does the next.
    @Test func theSpareTakesThePlaceOfADeadGuardWithinMilliseconds() throws {
        try host.startInstance()
        let client = try host.client()
        try host.arm(client, .after(.seconds(60)))
        for _ in 0..<2 {
            #expect(soon { client.status.hasSpare })
            let first = try #require(client.status.pid)
            ProcessTable.signal(first, SIGKILL)
            let begun = SystemClock.now()
            #expect(
                SystemClock.wait(upTo: .seconds(5), step: .microseconds(200)) {
                    client.status.answers && client.status.pid != first
                })
            try host.arm(client, nil)
            print("guard: the spare at work and armed after \((SystemClock.now() - begun) / 1000) µs")
        }
        #expect(soon { host.guards().count == 2 })
        client.close()
    }

    /// A stopped guard holds its lock, so that no spare takes its place. The agent sees that it no longer looks.
    @Test func aStoppedGuardIsNoticedAndReplaced() throws {
        try host.startInstance()
        let ended = Seen<String>()
        let client = try host.client(ended: ended)
        let until = GuardDeadline.after(.milliseconds(700))
        try host.arm(client, until)
        let first = try #require(client.status.pid)
        ProcessTable.signal(first, SIGSTOP)
        #expect(soon { !ended.all.isEmpty })
        #expect(ended.all == ["the guard \(first) no longer looks at its deadline"])
        try host.arm(client, nil)
        #expect(client.status.pid != first)
        #expect(ProcessTable.startTime(of: first) == nil, "it was ended: only so it lets its lock go")
        #expect(try #require(host.silence(client, until)) <= until.boot)
        client.close()
    }

    @Test func aStoppedGuardThatCannotBeReplacedIsAnErrorAndNothingIsArmed() throws {
        let guardian = try host.startGuard()
        ProcessTable.signal(guardian, SIGSTOP)
        let client = try host.client(spawn: { _ in throw Failure(text: "no more processes") })
        let begun = SystemClock.now()
        let error = #expect(throws: GuardError.self) { try host.arm(client, .after(.seconds(60)), tries: 1) }
        #expect((100_000_000...400_000_000).contains(SystemClock.now() - begun))
        let text = error?.description ?? ""
        for part in ["the guard \(guardian) does not answer", "no more processes", "systemctl", "`sole`"] {
            #expect(text.contains(part))
        }
        #expect(!client.status.isArmed)
        ProcessTable.signal(guardian, SIGCONT)
        #expect(soon { client.status.answers }, "continued, it goes by the board: not armed")
        client.close()
    }

    @Test func ifNoGuardCanBeStartedAnArmedOneStaysArmedForWhateverComes() throws {
        try host.startInstance()
        let guardian = try host.startGuard()
        let client = try host.client(spawn: { _ in throw Failure(text: "no") })
        let until = GuardDeadline.after(.milliseconds(600))
        try host.arm(client, until)
        ProcessTable.signal(guardian, SIGKILL)
        #expect(soon { host.guards().isEmpty })
        #expect(throws: GuardError.self) { try host.arm(client, until, tries: 1) }
        #expect(client.status.isArmed && client.status.deadline == until)
        try host.startGuard()
        #expect(try #require(host.silence(client, until)) <= until.boot)
        client.close()
    }

    @Test func aGuardOfYesterdaysConfigurationMakesRoom() throws {
        try host.startInstance()
        var old = host.scope
        old.margin = .milliseconds(50)
        let first = try host.startGuard(old)
        let client = try host.client()
        #expect(!client.status.isOfThisScope)
        let until = GuardDeadline.after(.milliseconds(500))
        try host.arm(client, until)
        #expect(client.status.isOfThisScope && client.status.pid != first)
        #expect(ProcessTable.startTime(of: first) == nil)
        #expect(try #require(host.silence(client, until)) <= until.boot)
        client.close()
    }

    @Test func aLeaseThatIsOverIsNotArmed() throws {
        try host.startInstance()
        try host.startGuard()
        let client = try host.client()
        #expect(throws: GuardError.self) { try host.arm(client, .after(.milliseconds(50)), tries: 1) }
        #expect(!client.status.isArmed && host.staysUntouched(.milliseconds(200)))
        client.close()
    }

    @Test func withoutADataDirectoryNoGuardCountsAsArmed() throws {
        var scope = host.scope
        scope.dataDirectory += "/is-not-there"
        let guardian = try host.startGuard(scope)
        let client = try host.client(scope: scope)
        let error = #expect(throws: GuardError.self) { try host.arm(client, nil, tries: 1) }
        #expect(error?.description.contains("\(scope.dataDirectory) is not there") == true)
        #expect(host.guards() == [guardian], "it is well, and another one would not do better")
        client.close()
    }

    @Test func aDirectoryThatIsMadeLaterIsFoundWhenItIsArmed() throws {
        var scope = host.scope
        scope.dataDirectory = host.folder + "/later"
        try host.startGuard(scope)
        // By another way, as distributions do.
        _ = try TwoHosts.run("/bin/ln", ["-s", host.data, scope.dataDirectory])
        try host.startInstance()
        let client = try host.client(scope: scope)
        let until = GuardDeadline.after(.milliseconds(300))
        try host.arm(client, until)
        #expect(try #require(host.silence(client, until)) <= until.boot)
        client.close()
    }

    @Test func theNextAgentFindsTheDeadlineOfTheOneBefore() throws {
        try host.startInstance()
        let until = GuardDeadline.after(.seconds(60))
        let before = try host.client()
        try host.arm(before, until)
        #expect(soon { before.status.hasSpare })
        before.close()
        let ended = Seen<String>()
        let client = try host.client(ended: ended)
        #expect(client.wasArmed && client.heldDeadline == until && client.wasSound)
        let pid = try #require(client.status.pid)
        ProcessTable.signal(pid, SIGKILL)
        #expect(soon { ended.all.count == 1 }, "it is watched from the start")
        client.close()
        for pid in host.guards() { ProcessTable.signal(pid, SIGKILL) }
        #expect(soon { host.guards().isEmpty })
        let third = try host.client(ended: ended)
        #expect(soon { ended.all.count == 2 }, "nobody guards what is armed")
        third.close()
    }

    /// The agent is killed between two stores of an extension, and another one starts.
    @Test func afterAWriterThatDiedInTheMiddleTheEarlierDeadlineHolds() throws {
        let until = GuardDeadline.after(.seconds(60))
        let before = try host.client()
        try host.arm(before, until)
        before.close()
        try host.board().writeSlot(GuardOrder(generation: 9, isArmed: false, deadline: GuardDeadline(boot: 0, raw: .max)))
        let client = try host.client()
        #expect(client.heldDeadline == until)
        let later = GuardDeadline.after(.seconds(90))
        client.extend(until: later)
        #expect(try host.board().order?.deadline == later)
        client.extend(until: until)
        #expect(try host.board().order?.deadline == later, "a deadline only grows")
        client.close()
    }

    @Test func somebodyElsesBytesInTheBoardMeanThatNoLeaseIsKnown() throws {
        try DurableFile.write([UInt8](repeating: 9, count: 4096), to: host.boardPath, mode: 0o600)
        try host.startInstance()
        let client = try host.client()
        #expect(!client.wasSound && !client.wasArmed && client.heldDeadline == nil)
        #expect(host.staysUntouched(.milliseconds(100)))
        let until = GuardDeadline.after(.milliseconds(400))
        try host.arm(client, until)
        #expect(try #require(host.silence(client, until)) <= until.boot)
        client.close()
    }

    @Test func aBoardThatSomebodyRemovedIsMadeAgainAndTheOldOneDisarmed() throws {
        try host.startInstance()
        let client = try host.client()
        try host.arm(client, .after(.seconds(3)))
        unlink(host.boardPath)
        unlink(host.boardPath + ".lock")
        try host.arm(client, .after(.seconds(60)))
        #expect(host.staysUntouched(.milliseconds(3200)), "the guard of the removed board does not act")
        #expect(try host.board().order?.isArmed == true)
        client.close()
    }

    @Test func anExtensionCostsNothing() throws {
        try host.startGuard()
        let client = try host.client()
        try host.arm(client, .after(.seconds(60)))
        let begun = SystemClock.now()
        for _ in 0..<1000 { client.extend(until: .after(.seconds(60))) }
        let each = (SystemClock.now() - begun) / 1000
        print("guard: an extension takes \(each) ns")
        #expect(each < 100_000)
        client.close()
    }
}
