import Glibc
import TandemSystem
import Testing

@Suite struct ToolTests {
    @Test func outputErrorsAndStatusAreTold() throws {
        let result = try shell("echo out; echo err >&2; exit 3")
        #expect(result.output == "out\n")
        #expect(result.errors == "err\n")
        #expect(result.ending == .exited(3))
        #expect(!result.succeeded)
        #expect(try shell("true").succeeded)
        #expect(try shell("kill -9 $$").ending == .signalled(SIGKILL))
    }

    @Test func aProgramThatIsNotThereIsAnError() throws {
        let error = #expect(throws: SystemError.self) { try Tool("/no/such/program", []).run(deadline: .seconds(1)) }
        #expect(error?.code == ENOENT)
        let stranger = #expect(throws: SystemError.self) {
            try Tool("/bin/true", [], user: "no-such-user").run(deadline: .seconds(1))
        }
        #expect(stranger?.code == ENOENT)
    }

    @Test func atTheDeadlineTheWholeGroupEnds() throws {
        let folder = try Folder()
        let begun = SystemClock.now()
        let result = try shell("cd '\(folder.path)'; echo before; sleep 60 & sleep 60", deadline: .milliseconds(300))
        let took = SystemClock.now() - begun
        #expect(result.ending == .timedOut)
        #expect(result.output == "before\n")
        #expect(took >= 300_000_000 && took < 5_000_000_000)
        #expect(soon { ProcessTable.processes(ofDirectory: folder.path).isEmpty })
    }

    @Test func whenSomebodyRingsItEndsAsAtItsDeadline() throws {
        let folder = try Folder()
        let bell = try Bell()
        let begun = SystemClock.now()
        let tool = Tool("/bin/sh", ["-c", "cd '\(folder.path)'; echo before; sleep 60 & sleep 60"])
        let result = try tool.run(deadline: .seconds(50), interruption: bell) { line in
            if line == "before" { bell.ring() }
        }
        #expect(result.ending == .interrupted)
        #expect(result.output == "before\n")
        #expect(SystemClock.now() - begun < 5_000_000_000)
        #expect(soon { ProcessTable.processes(ofDirectory: folder.path).isEmpty })
        #expect(try tool.run(deadline: .seconds(50), interruption: bell).ending == .interrupted, "it was rung before")
    }

    @Test func whoIgnoresTheTermSignalIsKilled() throws {
        let folder = try Folder()
        let script = "cd '\(folder.path)'; trap '' TERM; while :; do sleep 1; done"
        let result = try shell(script, deadline: .milliseconds(200))
        #expect(result.ending == .timedOut)
        #expect(result.duration >= .milliseconds(500), "300 ms to end in an orderly way")
        #expect(soon { ProcessTable.processes(ofDirectory: folder.path).isEmpty })
    }

    @Test func everyProcessOfTheGroupIsAskedFirstAndThenKilled() throws {
        let folder = try Folder()
        // One that tidies up when asked, and one that does not listen.
        let script = """
            cd '\(folder.path)'
            (trap 'echo > asked; exit' TERM; while :; do sleep 0.05; done) &
            (trap '' TERM; exec sleep 60) &
            trap '' TERM; sleep 60
            """
        #expect(try shell(script, deadline: .milliseconds(500)).ending == .timedOut)
        #expect(try folder.names() == ["asked"])
        #expect(soon { ProcessTable.processes(ofDirectory: folder.path).isEmpty })
    }

    @Test func whoDoesNotListenIsKilledAlsoWhenTheLeaderListened() throws {
        let folder = try Folder()
        let script = "cd '\(folder.path)'; (trap '' TERM; exec sleep 60) & exec sleep 60"
        #expect(try shell(script, deadline: .milliseconds(500)).ending == .timedOut)
        #expect(soon { ProcessTable.processes(ofDirectory: folder.path).isEmpty })
    }

    @Test func aProcessLeftBehindThatKeepsTheOutputOpenDoesNotHoldUsUp() throws {
        let begun = SystemClock.now()
        let result = try shell("sleep 30 & echo $!", deadline: .seconds(20))
        #expect(SystemClock.now() - begun < 10_000_000_000)
        #expect(result.succeeded)
        let left = try #require(Int32(result.output.dropLast()))
        #expect(ProcessTable.startTime(of: left) != nil, "it lives on, as a server that pg_ctl started")
        #expect(ProcessTable.signal(left, SIGKILL))
    }

    @Test func inputOfAnySizeGoesThrough() throws {
        var tool = Tool("/bin/cat", [])
        tool.input = Array(String(repeating: "0123456789abcdef", count: 50_000).utf8)
        let result = try tool.run(deadline: .seconds(20))
        #expect(Array(result.output.utf8) == tool.input)
        // Who does not read it gets no further, and we get no SIGPIPE.
        tool = Tool("/bin/true", [])
        tool.input = [UInt8](repeating: 65, count: 1 << 20)
        #expect(try tool.run(deadline: .seconds(20)).succeeded)
    }

    @Test func ofTooMuchOutputTheEndIsKept() throws {
        let result = try Tool("/bin/sh", ["-c", "head -c 3000000 /dev/zero | tr '\\0' x; echo end"])
            .run(deadline: .seconds(20), outputLimit: 1000)
        #expect(result.succeeded)
        #expect(result.output.utf8.count == 1000)
        #expect(result.output.hasSuffix("xxend\n"))
    }

    @Test func linesAreToldAsTheyCome() throws {
        let seen = Seen<String>()
        let script = "printf 'one\\ntw'; printf 'o\\r3/4 done\\r'; echo last >&2; printf unfinished"
        let result = try Tool("/bin/sh", ["-c", script]).run(deadline: .seconds(20)) { seen.add($0) }
        #expect(result.succeeded)
        #expect(seen.all.filter { $0 != "last" } == ["one", "two", "3/4 done", "unfinished"])
        #expect(seen.all.contains("last"))
    }

    @Test func nothingOfOursLeaksIntoTheChild() throws {
        // A careless descriptor, an ignored signal and a blocked one.
        let careless = open("/dev/null", O_RDONLY)
        defer { close(careless) }
        let before = signal(SIGUSR2, SIG_IGN)
        defer { signal(SIGUSR2, before) }
        setenv("PGHOST", "elsewhere", 1)
        defer { unsetenv("PGHOST") }
        // glibc's posix_spawn leaves its two internal signals (32, 33) ignored in every child.
        let script = """
            ls /proc/self/fd | wc -l; grep -E '^Sig(Blk|Ign)' /proc/self/status | sed 's/0000000180000000/0000000000000000/'
            pwd; echo ${PGHOST-none} $GIVEN
            """
        let lines = try Tool("/bin/sh", ["-c", script], environment: ["GIVEN": "given"]).run(deadline: .seconds(20))
            .output.split(separator: "\n").map { $0.split(whereSeparator: \.isWhitespace).joined(separator: " ") }
        #expect(
            lines == ["4", "SigBlk: 0000000000000000", "SigIgn: 0000000000000000", "/", "none given"],
            "the fourth descriptor is that of ls itself")
    }

    @Test func anotherUserHasItsGroupsItsHomeAndNoCapability() throws {
        let script = "id -un; id -gn; echo $HOME $USER; grep -E '^Cap(Inh|Prm|Eff|Amb)' /proc/self/status | cut -f2 | sort -u"
        let result = try Tool("/bin/sh", ["-c", script], user: "nobody").run(deadline: .seconds(20))
        #expect(result.output == "nobody\nnogroup\n/nonexistent nobody\n0000000000000000\n", "\(result.errors)")
    }

    @Test func aStopOfTheWholeProgramIsNoResult() throws {
        // A stopped child has not ended: the deadline still rules.
        let result = try shell("kill -STOP $$", deadline: .milliseconds(200))
        #expect(result.ending == .timedOut)
    }
}
