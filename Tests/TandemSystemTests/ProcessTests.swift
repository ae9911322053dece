import CLinux
import Glibc
import TandemSystem
import Testing

@Suite struct ProcessTests {
    @Test func theProcessesOfADirectoryAreFoundWithoutZombies() throws {
        let folder = try Folder()
        #expect(ProcessTable.processes(ofDirectory: folder.path) == [])
        #expect(ProcessTable.processes(ofDirectory: "\(folder.path)/absent") == [])
        let first = try Stranger.sleeping(in: folder.path)
        let second = try Stranger.sleeping(in: folder.path)
        let found = [first.pid, second.pid].sorted()
        #expect(ProcessTable.processes(ofDirectory: folder.path) == found)
        #expect(ProcessTable.processes(ofDirectory: "\(folder.path)/../\(folder.path.split(separator: "/")[1])/") == found)
        #expect(symlink(folder.path, "\(folder.path)/link") == 0)
        #expect(ProcessTable.processes(ofDirectory: "\(folder.path)/link") == found)
        #expect(ProcessTable.signal(first.pid, SIGKILL))
        #expect(soon { ProcessTable.processes(ofDirectory: folder.path) == [second.pid] })
    }

    @Test func aServerWhoseDirectoryWasRemovedIsStillFound() throws {
        let folder = try Folder()
        let data = "\(folder.path)/data"
        #expect(mkdir(data, 0o755) == 0)
        let server = try Stranger.sleeping(in: data)
        #expect(rmdir(data) == 0)
        #expect(ProcessTable.processes(ofResolvedDirectory: data) == [server.pid])
    }

    @Test func aZombieIsNoProcess() throws {
        let folder = try Folder()
        let child = fork()
        if child == 0 {
            chdir(folder.path)
            while true { pause() }
        }
        var status: Int32 = 0
        defer { waitpid(child, &status, 0) }
        #expect(soon { ProcessTable.processes(ofDirectory: folder.path) == [child] })
        let ended = Seen<Int>()
        let watch = try ProcessEnd(pid: child) { ended.add(1) }
        defer { watch.cancel() }
        #expect(ProcessTable.signal(child, SIGKILL))
        #expect(soon { ended.all == [1] })
        #expect(kill(child, 0) == 0, "kill(2) takes it for alive")
        #expect(ProcessTable.startTime(of: child) == nil)
        #expect(ProcessTable.processes(ofDirectory: folder.path) == [])
        let late = try ProcessEnd(pid: child) { ended.add(2) }
        defer { late.cancel() }
        #expect(soon { ended.all == [1, 2] }, "told although it had ended before")
    }

    @Test func theStartTimeNamesAProcess() throws {
        let own = try #require(ProcessTable.startTime(of: getpid()))
        #expect(ProcessTable.startTime(of: getpid()) == own)
        let later = try Stranger.sleeping()
        #expect(try #require(ProcessTable.startTime(of: later.pid)) >= own)
        #expect(ProcessTable.startTime(of: 0) == nil)
        #expect(ProcessTable.startTime(of: -1) == nil)
        #expect(ProcessTable.startTime(of: 4_194_305) == nil, "above the kernel's highest number")
    }

    @Test func aNameWithAParenthesisConfusesNobody() throws {
        let folder = try Folder()
        let odd = "\(folder.path)/a) Z 1 ("
        #expect(try shell("cp /bin/sleep '\(odd)'").succeeded)
        let stranger = try Stranger("'\(odd)' 60 >/dev/null 2>&1 & echo $!")
        let asked = try shell("sed 's/.*) //' /proc/\(stranger.pid)/stat | cut -d' ' -f20").output
        #expect(ProcessTable.startTime(of: stranger.pid).map { "\($0)\n" } == asked)
    }

    @Test func groupsAndTheFirstProcessAreNeverSignalled() {
        #expect(!ProcessTable.signal(0, 0))
        #expect(!ProcessTable.signal(-1, 0))
        #expect(!ProcessTable.signal(1, 0))
        #expect(ProcessTable.signal(getpid(), 0))
    }

    @Test func theEndOfAProcessThatIsNotOurChildIsToldOnceAndAtOnce() throws {
        let stranger = try Stranger.sleeping()
        let seen = Seen<Int64>()
        let watch = try ProcessEnd(pid: stranger.pid) { seen.add(SystemClock.now()) }
        let killed = SystemClock.now()
        #expect(ProcessTable.signal(stranger.pid, SIGKILL))
        #expect(soon { !seen.all.isEmpty })
        #expect(try #require(seen.all.first) - killed < 1_000_000_000)
        watch.cancel()
        #expect(seen.all.count == 1)
    }

    @Test func aCancelledWatchIsSilent() throws {
        let stranger = try Stranger.sleeping()
        let cancelled = Seen<Int>()
        let other = Seen<Int>()
        let watch = try ProcessEnd(pid: stranger.pid) { cancelled.add(1) }
        let second = try ProcessEnd(pid: stranger.pid) { other.add(1) }
        watch.cancel()
        #expect(ProcessTable.signal(stranger.pid, SIGKILL))
        #expect(soon { !other.all.isEmpty })
        second.cancel()
        #expect(cancelled.all.isEmpty)
    }

    @Test func nobodyCanBeWatchedWhoIsGone() throws {
        let stranger = try Stranger.sleeping()
        #expect(ProcessTable.signal(stranger.pid, SIGKILL))
        #expect(soon { kill(stranger.pid, 0) != 0 })
        let error = #expect(throws: SystemError.self) { try ProcessEnd(pid: stranger.pid) {} }
        #expect(error?.code == ESRCH)
    }
}

@Suite struct ThreadTests {
    @Test func aLaneRunsItsJobsInOrderInOneThread() {
        let lane = Lane(name: "ordered")
        let seen = Seen<Int>()
        let threads = Seen<pid_t>()
        for number in 0..<500 {
            lane.submit {
                seen.add(number)
                threads.add(cl_gettid())
            }
        }
        #expect(soon { seen.all.count == 500 })
        #expect(seen.all == Array(0..<500))
        #expect(Set(threads.all).count == 1)
        lane.stop()
    }

    @Test func stoppingWaitsForTheRunningJobAndDropsTheOthers() throws {
        let lane = Lane(name: "stopped")
        let begun = try Bell()
        let release = try Bell()
        let seen = Seen<String>()
        lane.submit {
            begun.ring()
            release.wait(upTo: .seconds(10))
            seen.add("ended")
        }
        lane.submit { seen.add("never") }
        #expect(begun.wait(upTo: .seconds(5)))
        let stopper = Lane(name: "stopper")
        stopper.submit {
            lane.stop()
            seen.add("stopped")
        }
        #expect(!soon(.milliseconds(100)) { seen.all.contains("stopped") })
        release.ring()
        #expect(soon { seen.all == ["ended", "stopped"] })
        lane.submit { seen.add("too late") }
        lane.stop()
        stopper.stop()
        #expect(seen.all == ["ended", "stopped"])
    }

    @Test func aJobMayStopItsOwnLane() {
        let lane = Lane(name: "own")
        let seen = Seen<Int>()
        lane.submit {
            lane.stop()
            seen.add(1)
        }
        #expect(soon { seen.all == [1] })
        lane.stop()
    }

    @Test func aForgottenLaneEndsItsThread() throws {
        let id = Seen<pid_t>()
        do {
            let lane = Lane(name: "forgotten")
            lane.submit { id.add(cl_gettid()) }
            #expect(soon { !id.all.isEmpty })
        }
        let thread = try #require(id.all.first)
        #expect(soon { access("/proc/self/task/\(thread)", F_OK) != 0 })
    }

    @Test func theClockCountsOnAndWaitsForAFact() throws {
        let begun = SystemClock.now()
        #expect(!SystemClock.wait(upTo: .milliseconds(20)) { false })
        #expect(SystemClock.now() - begun >= 20_000_000)
        var asked = 0
        #expect(
            SystemClock.wait(upTo: .seconds(5)) {
                asked += 1
                return asked == 3
            })
        #expect(SystemClock.wait(upTo: .zero) { true }, "asked at least once")
        #expect(try SystemClock.bootID() == SystemClock.bootID())
        #expect(try SystemClock.bootID().count == 36)
        #expect(Duration.seconds(Int64.max).nanoseconds == .max)
        #expect(Duration.milliseconds(-3).nanoseconds == -3_000_000)
    }
}
