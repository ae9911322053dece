import CLinux
import Glibc
import TandemSystem
import Testing

/// Each runs in a forked child: the change is for good. (After fork(2) the child has one thread, as a program at its start.)
@Suite(.serialized) struct PrivilegesTests {
    private static let kept: [Capability] = [.netAdmin, .netRaw, .sysNice, .ipcLock]

    @Test func rootBecomesAUserWithFewCapabilitiesAndItsChildrenHaveNone() throws {
        let told = try inChild {
            var group: gid_t = 12345
            guard setgroups(1, &group) == 0 else { throw SystemError.last("take a group") }
            try Privileges.become(user: "nobody", keeping: PrivilegesTests.kept)
            return try status() + ["missing \(Privileges.missing(PrivilegesTests.kept + [.sysAdmin]))"] + childStatus()
        }
        let mask = "0000000000807000"
        let user = try Privileges.userID(of: "nobody")
        let ids = "\(user) \(user) \(user) \(user)"
        let group = try Privileges.groupID(of: "nobody")
        #expect(
            told == [
                "Uid: \(ids)", "Groups: \(group)", "CapInh: \(none)", "CapPrm: \(mask)", "CapEff: \(mask)", "CapAmb: \(none)",
                "NoNewPrivs: 1",
                "missing [TandemSystem.Capability.sysAdmin]",
                "Uid: \(ids)", "Groups: \(group)", "CapInh: \(none)", "CapPrm: \(none)", "CapEff: \(none)", "CapAmb: \(none)",
                "NoNewPrivs: 1",
            ])
    }

    @Test func aUserWithAmbientCapabilitiesKeepsThemForItselfAlone() throws {
        let told = try inChild {
            try startAsAUnitWithAmbientCapabilities()
            let before = try childStatus().filter { $0.hasPrefix("CapEff") }
            try Privileges.become(user: "nobody", keeping: [.netAdmin])
            let ours = try status().filter { $0.hasPrefix("Cap") }
            return try before + ours + childStatus().filter { $0.hasPrefix("Cap") }
        }
        let one = "0000000000001000"
        #expect(
            told == [
                "CapEff: 0000000000003000",
                "CapInh: \(none)", "CapPrm: \(one)", "CapEff: \(one)", "CapAmb: \(none)",
                "CapInh: \(none)", "CapPrm: \(none)", "CapEff: \(none)", "CapAmb: \(none)",
            ])
    }

    @Test func nobodyBecomesSomebodyElse() throws {
        let told = try inChild {
            try startAsAUnitWithAmbientCapabilities()
            do throws(SystemError) {
                try Privileges.become(user: "root", keeping: [])
                return ["became root"]
            } catch {
                return ["\(error.code)"]
            }
        }
        #expect(told == ["\(EPERM)"])
    }

    @Test func withSeveralThreadsItIsRefused() {
        // The test itself runs among other threads.
        let lane = Lane(name: "another")
        defer { lane.stop() }
        let error = #expect(throws: SystemError.self) { try Privileges.become(user: "nobody", keeping: []) }
        #expect(error?.code == EBUSY)
        #expect(geteuid() == 0)
    }

    @Test func usersAreFoundByNameAndNumber() throws {
        #expect(try Privileges.userID(of: "root") == 0)
        #expect(try Privileges.groupID(of: "root") == 0)
        #expect(Privileges.userName(of: 0) == "root")
        #expect(Privileges.userName(of: 4_000_000_000) == nil)
        let error = #expect(throws: SystemError.self) { try Privileges.userID(of: "no-such-user") }
        #expect(error?.code == ENOENT)
    }
}

private let none = "0000000000000000"
private let names = ["Uid", "Groups", "CapInh", "CapPrm", "CapEff", "CapAmb", "NoNewPrivs"]

private func pick(_ text: String) -> [String] {
    text.split(separator: "\n").filter { line in names.contains { line.hasPrefix("\($0):") } }
        .map { $0.split(whereSeparator: \.isWhitespace).joined(separator: " ") }
}

private func status() throws -> [String] {
    pick(String(decoding: try DurableFile.read("/proc/self/status") ?? [], as: UTF8.self))
}

private func childStatus() throws -> [String] {
    pick(try Tool("/bin/cat", ["/proc/self/status"]).run(deadline: .seconds(10)).output)
}

/// As systemd does it for `User=nobody`, `AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW`.
private func startAsAUnitWithAmbientCapabilities() throws {
    let user = try Privileges.userID(of: "nobody")
    let mask: UInt64 = 1 << 12 | 1 << 13
    let steps = [
        cl_prctl(PR_SET_KEEPCAPS, 1, 0), cl_become(user, user), cl_capabilities_set(mask, mask, mask),
        cl_prctl(PR_CAP_AMBIENT, UInt(PR_CAP_AMBIENT_RAISE), 12), cl_prctl(PR_CAP_AMBIENT, UInt(PR_CAP_AMBIENT_RAISE), 13),
        // The kernel takes it away with the change of user; a new program has it again.
        cl_prctl(PR_SET_DUMPABLE, 1, 0),
    ]
    guard steps.allSatisfy({ $0 == 0 }) else { throw SystemError.last("prepare capabilities: \(steps)") }
}

/// Runs the body in a forked child and returns the lines that it gives. A fork among threads may meet a lock that another
/// thread held: then the child is ended and another one tried.
private func inChild(_ body: () throws -> [String]) throws -> [String] {
    for _ in 0..<3 {
        var pair: [Int32] = [-1, -1]
        guard cl_pipe(&pair) == 0 else { throw SystemError.last("make a pipe") }
        let child = fork()
        if child == 0 {
            var text: String
            do {
                text = try body().joined(separator: "\n")
            } catch {
                text = "\(error)"
            }
            _ = write(pair[1], text, text.utf8.count)
            _exit(0)
        }
        close(pair[1])
        defer { close(pair[0]) }
        guard child > 0 else { throw SystemError.last("fork") }
        let ended = Poll.readable([pair[0]], upTo: .seconds(10)) == [true]
        if !ended { kill(child, SIGKILL) }
        var buffer = [UInt8](repeating: 0, count: 65536)
        let count = ended ? read(pair[0], &buffer, buffer.count) : 0
        var status: Int32 = 0
        waitpid(child, &status, 0)
        if ended { return String(decoding: buffer[..<max(0, count)], as: UTF8.self).split(separator: "\n").map(String.init) }
    }
    throw SystemError(attempted: "run in a child", code: ETIMEDOUT)
}
