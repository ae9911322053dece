import CLinux
import Glibc
import TandemSystem
import Testing

@testable import TandemLinux

/// A guard at work: what it ends, and when.
@Suite(.serialized, .enabled(if: GuardedHost.canRun, "needs root and the program beside the tests"))
struct GuardTests {
    let host: GuardedHost
    init() throws { host = try GuardedHost() }

    @Test func whenTheLeaseEndsEveryProcessAndBothAddressesAreGoneByThen() throws {
        try host.startInstance(children: 40)
        try host.takeAddresses()
        try host.startGuard()
        let client = try host.client()
        let until = GuardDeadline.after(.milliseconds(800))
        try host.arm(client, until)
        #expect(host.staysUntouched(.milliseconds(300)))
        let gone = try #require(host.silence(client, until))
        #expect(gone <= until.boot, "late by \((gone - until.boot) / 1000) µs")
        #expect(soon { client.status.lastAct?.duration != nil })
        let act = try #require(client.status.lastAct)
        #expect(act.deadline == until && act.killed == 41 && act.survivors == 0 && act.removedAddresses == 2 && act.refusal == 0)
        #expect(act.begun >= until.boot - 100_000_000, "not earlier than m before the end")
        #expect(try host.heldAddresses() == 0)
        print("guard: begun \((act.begun - until.boot + 100_000_000) / 1000) µs after until - m; \(act)")
        client.close()
    }

    @Test func itEndsConnectionsOfTheAddressesAtOnce() throws {
        try host.takeAddresses()
        try host.startGuard()
        let client = try host.client()
        let pair = try host.namespace.inside { try TCPPair(to: "192.0.2.7") }
        try host.arm(client, .after(.milliseconds(200)))
        #expect(try soon { try host.heldAddresses() == 0 })
        #expect(soon { pair.isReset })
        client.close()
    }

    @Test func aLeaseThatIsExtendedInTimeEndsNothing() throws {
        try host.startInstance()
        try host.startGuard()
        let client = try host.client()
        try host.arm(client, .after(.milliseconds(600)))
        let over = SystemClock.after(.milliseconds(1500))
        var last = GuardDeadline.after(.zero)
        _ = SystemClock.wait(upTo: .seconds(3), step: .milliseconds(20)) {
            last = .after(.milliseconds(600))
            client.extend(until: last)
            return SystemClock.now() > over || host.instance().isEmpty
        }
        #expect(host.instance().count == 21)
        #expect(client.status.lastAct == nil)
        let gone = try #require(host.silence(client, last))
        #expect(gone <= last.boot && gone >= last.boot - 100_000_000)
        client.close()
    }

    @Test func armedWithoutALeaseItWaitsForTheFirst() throws {
        try host.startInstance()
        try host.startGuard()
        let client = try host.client()
        try host.arm(client, nil)
        #expect(host.staysUntouched(.milliseconds(300)))
        let until = GuardDeadline.after(.milliseconds(200))
        client.extend(until: until)
        #expect(try #require(host.silence(client, until)) <= until.boot)
        client.close()
    }

    @Test func releasedItEndsNothing() throws {
        try host.startInstance()
        try host.startGuard()
        let client = try host.client()
        try host.arm(client, .after(.milliseconds(300)))
        try client.release()
        client.extend(until: .after(.milliseconds(150)))
        #expect(!client.status.isArmed && client.status.answers)
        #expect(host.staysUntouched(.milliseconds(500)))
        client.close()
    }

    /// The agent starts the instance again as a standby before it has a lease.
    @Test func afterAnActItLeavesAloneWhatStartsUntilALaterLeaseHasEnded() throws {
        try host.startInstance()
        try host.startGuard()
        let client = try host.client()
        try host.arm(client, .after(.milliseconds(150)))
        _ = try #require(host.silence(client))
        #expect(soon { client.status.lastAct?.duration != nil })
        try host.startInstance(children: 3)
        #expect(host.staysUntouched(.milliseconds(400)))
        let later = GuardDeadline.after(.milliseconds(300))
        client.extend(until: later)
        #expect(host.staysUntouched(.milliseconds(120)))
        #expect(try #require(host.silence(client, later)) <= later.boot)
        client.close()
    }

    /// Slewing, or suspension: only one of the clocks says that the lease is over.
    @Test(arguments: [true, false]) func theFirstClockThatSaysSoEndsTheLease(isBoot: Bool) throws {
        try host.startInstance()
        try host.startGuard()
        let client = try host.client()
        let begun = SystemClock.now()
        var until = GuardDeadline.after(.seconds(60))
        if isBoot { until.boot -= 59_700_000_000 } else { until.raw -= 59_700_000_000 }
        try host.arm(client, until)
        let gone = try #require(host.silence(client))
        #expect((200_000_000...300_000_000).contains(gone - begun))
        client.close()
    }

    @Test func aGuardThatIsKilledIsReplacedByTheSpareWhichKnowsTheDeadline() throws {
        try host.startInstance()
        let first = try host.startGuard()
        let spare = try host.startGuard()
        #expect(host.isSpare(spare))
        let client = try host.client()
        let until = GuardDeadline.after(.milliseconds(400))
        try host.arm(client, until)
        ProcessTable.signal(first, SIGKILL)
        #expect(soon { client.status.pid == spare && client.status.answers })
        #expect(try #require(host.silence(client, until)) <= until.boot)
        client.close()
    }

    @Test func aGuardThatStartsAfterTheDeadlineActsAtOnceAndOneAfterTheActDoesNot() throws {
        try host.startInstance()
        let first = try host.startGuard()
        let client = try host.client(spawn: { _ in })
        try host.arm(client, .after(.milliseconds(250)))
        ProcessTable.signal(first, SIGKILL)
        #expect(soon { host.guards().isEmpty })
        #expect(host.staysUntouched(.milliseconds(400)), "nobody is there to act")
        let second = try host.startGuard()
        #expect(host.silence(client) != nil)
        #expect(soon { client.status.lastAct?.duration != nil })
        ProcessTable.signal(second, SIGKILL)
        try host.startInstance(children: 3)
        #expect(soon { host.guards().isEmpty })
        try host.startGuard()
        #expect(host.staysUntouched(.milliseconds(300)))
        client.close()
    }

    @Test func aReaderOfItsLogThatDoesNotReadHoldsUpNothing() throws {
        try host.startInstance()
        let pipe = host.folder + "/errors"
        guard mkfifo(pipe, 0o600) == 0 else { throw SystemError.last("make \(pipe)") }
        let number = open(pipe, O_RDWR | O_NONBLOCK | O_CLOEXEC)
        let reader = Descriptor(number)
        let full = [UInt8](repeating: 0, count: 65536)
        while write(reader.number, full, full.count) > 0 {}
        try host.startGuard(errors: pipe)
        let client = try host.client()
        for _ in 0..<2 {
            let until = GuardDeadline.after(.milliseconds(250))
            try host.arm(client, until)
            #expect(try #require(host.silence(client, until)) <= until.boot)
            #expect(client.status.lastAct?.deadline == until)
            try host.startInstance()
        }
        client.close()
    }

    /// As the unit starts it: no root, three capabilities. A person (root) stands in the directory: its shell is none of the instance, and
    /// cannot be ended.
    @Test func asAnOrdinaryUserItEndsItsOwnProcessesAndCountsNoOthers() throws {
        let user = "nobody"
        let owner = try Tool("/bin/chown", ["-R", user, host.folder]).run(deadline: .seconds(5))
        #expect(owner.succeeded)
        try host.takeAddresses()
        let caps = "+net_admin,+sys_nice,+ipc_lock"
        let drop = "/usr/bin/setpriv --reuid \(user) --regid nogroup --clear-groups --no-new-privs"
        let line = "cd '\(host.data)'; \(drop) tail -f /dev/null >/dev/null 2>&1 & tail -f /dev/null >/dev/null 2>&1 & echo"
        _ = try Tool("/bin/sh", ["-c", line]).run(deadline: .seconds(5))
        #expect(soon { host.instance().count == 2 })
        try host.startGuard(prefix: "\(drop) --inh-caps \(caps) --ambient-caps \(caps)")
        let client = try host.client()
        try host.arm(client, .after(.milliseconds(200)))
        #expect(client.status.hasRealTime && client.status.hasLockedMemory)
        #expect(soon { client.status.lastAct?.duration != nil })
        let act = try #require(client.status.lastAct)
        #expect(act.killed == 1 && act.survivors == 0 && act.removedAddresses == 2 && act.refusal == 0)
        #expect(host.instance().count == 1)
        client.close()
    }

    @Test func withoutThePermissionsItRunsAndSaysSo() throws {
        _ = try Tool("/bin/chown", ["-R", "nobody", host.folder]).run(deadline: .seconds(5))
        try host.takeAddresses()
        try host.startGuard(prefix: "/usr/bin/setpriv --reuid nobody --regid nogroup --clear-groups")
        let client = try host.client()
        try host.arm(client, .after(.milliseconds(200)))
        #expect(!client.status.hasRealTime && !client.status.hasLockedMemory)
        #expect(soon { client.status.lastAct?.refusal == EPERM })
        #expect(client.status.lastAct?.removedAddresses == 0 && client.status.lastAct?.duration == nil)
        // It gives the addresses up after a second: whatever starts then is left alone.
        #expect(try soon { try host.board().acted.boot != 0 })
        client.close()
    }

    @Test func theWatchdogIsFedWhileAllIsWellAndPutAwayWhenTheGuardEndsUnarmed() throws {
        try host.startInstance()
        let path = host.folder + "/watchdog"
        guard mkfifo(path, 0o600) == 0 else { throw SystemError.last("make \(path)") }
        let reader = Descriptor(open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC))
        func eaten() -> String {
            var bytes = [UInt8](repeating: 0, count: 65536)
            let count = read(reader.number, &bytes, bytes.count)
            return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
        }
        let guardian = try host.startGuard(more: ["--watchdog-file", path])
        #expect(eaten() == "", "not before it is armed")
        let client = try host.client(spawn: { _ in })
        try host.arm(client, .after(.seconds(60)))
        #expect(client.status.hasWatchdog)
        #expect(soon { eaten().hasPrefix("k") } && soon { eaten().hasPrefix("k") })
        try client.release()
        #expect(soon { eaten().hasPrefix("k") } && soon { eaten().hasPrefix("k") }, "a kernel may not let it be stopped")
        ProcessTable.signal(guardian, SIGTERM)
        #expect(soon { host.guards().isEmpty })
        #expect(eaten().hasSuffix("V"))
        client.close()
    }

    @Test func somebodyWritesOverTheBoardAndTheGuardGoesByWhatItKnows() throws {
        try host.startInstance()
        try host.startGuard()
        let client = try host.client(spawn: { _ in })
        let until = GuardDeadline.after(.milliseconds(350))
        try host.arm(client, until)
        try overwriteBoard()
        let gone = try #require(host.silence(client, until))
        #expect(gone <= until.boot && gone > until.boot - 100_000_000)
        client.close()
    }

    @Test func theNextExtensionMendsTheBoard() throws {
        try host.startInstance()
        try host.startGuard()
        let client = try host.client(spawn: { _ in })
        try host.arm(client, .after(.milliseconds(350)))
        try overwriteBoard()
        let later = GuardDeadline.after(.milliseconds(800))
        client.extend(until: later)
        #expect(host.staysUntouched(.milliseconds(550)))
        #expect(try #require(host.silence(client, later)) <= later.boot)
        #expect(soon { client.status.pid != nil && client.status.answers }, "the guard introduced itself anew")
        client.close()
    }

    private func overwriteBoard() throws {
        let file = Descriptor(open(host.boardPath, O_WRONLY | O_CLOEXEC))
        let junk = [UInt8](repeating: 7, count: 4096)
        guard pwrite(file.number, junk, junk.count, 0) == junk.count else { throw SystemError.last("write over the board") }
    }
}

/// A connection of a client to an address, in the calling thread's namespace.
final class TCPPair: Sendable {
    private let client: Descriptor
    private let server: Descriptor

    init(to address: String) throws {
        let listener = Descriptor(socket(AF_INET, cl_sock_stream, 0))
        client = Descriptor(socket(AF_INET, cl_sock_stream, 0))
        var place = sockaddr_in()
        place.sin_family = sa_family_t(AF_INET)
        guard inet_pton(AF_INET, address, &place.sin_addr) == 1 else { throw Failure(text: address) }
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let connected = withUnsafeMutablePointer(to: &place) { [client] pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { place in
                bind(listener.number, place, length) == 0 && listen(listener.number, 1) == 0
                    && getsockname(listener.number, place, &length) == 0 && connect(client.number, place, length) == 0
            }
        }
        server = Descriptor(accept(listener.number, nil, nil))
        guard connected, server.number >= 0 else { throw SystemError.last("connect to \(address)") }
    }

    /// Both sides know of the end.
    var isReset: Bool {
        [client, server].allSatisfy { side in
            var code: Int32 = 0
            var entry = pollfd(fd: side.number, events: Int16(POLLIN), revents: 0)
            guard poll(&entry, 1, 0) == 1 else { return false }
            var length = socklen_t(MemoryLayout<Int32>.size)
            getsockopt(side.number, SOL_SOCKET, SO_ERROR, &code, &length)
            var byte: UInt8 = 0
            return code != 0 || Int32(entry.revents) & POLLHUP != 0 || recv(side.number, &byte, 1, cl_msg_dontwait) < 0
        }
    }
}
