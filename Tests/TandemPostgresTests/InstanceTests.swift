import Glibc
import Testing

@testable import TandemCore
@testable import TandemPostgres
@testable import TandemSystem

@Suite(.serialized) struct InstanceTests {
    @Test func primaryIsStartedAndStoppedAndStandbySignalIsAlwaysThere() throws {
        try Scratch.run { scratch in
            let server = try scratch.server("a")
            let first = try server.instance.start(.primary, deadline: .seconds(30))
            #expect(first.isOpen)
            #expect(OwnedFiles.exists(server.instance.standbySignal))
            // Again: nothing happens.
            #expect(try server.instance.start(.primary, deadline: .seconds(30)).postmaster == first.postmaster)
            #expect(try server.sql("select pg_is_in_recovery()") == "f")
            try server.instance.stop(.fast, deadline: .seconds(30))
            #expect(server.instance.livingProcesses().isEmpty)
            #expect(try server.instance.controlData().state == "shut down")
            try server.instance.stop(.fast, deadline: .seconds(1))
            // Whoever else starts it gets a read-only server.
            _ = try server.instance.start(.standby, deadline: .seconds(30))
            try eventually("it answers in recovery") {
                do {
                    return try server.sql("select pg_is_in_recovery()") == "t"
                } catch let error as SessionError { return !error.isAnswer && false }
            }
            try server.instance.stop(.immediate, deadline: .seconds(30))
        }
    }

    /// It stands in its directory whatever that is called, and goes on to serve.
    @Test(arguments: [Instance.StopMode.fast, .immediate, nil])
    func aServerWhoseDirectoryIsRenamedIsEndedAllTheSame(_ mode: Instance.StopMode?) throws {
        try Scratch.run { scratch in
            let server = try scratch.server("a")
            let postmaster = try server.instance.start(.primary, deadline: .seconds(30)).postmaster
            let backend = try server.session()
            defer { backend.close() }
            let (before, after) = (server.settings.dataDirectory, server.settings.dataDirectory + ".moved")
            #expect(rename(before, after) == 0)
            defer { rename(after, before) }
            // Also where another directory takes its name.
            try OwnedFiles(user: "postgres").makeFolder(before)
            defer { rmdir(before) }
            #expect(server.instance.livingProcesses().count > 5)
            if let mode {
                try server.instance.stop(mode, deadline: .seconds(30))
            } else {
                #expect(server.instance.endAll(deadline: .seconds(10)).isComplete)
            }
            // What has left its program and its directory is on its way out.
            try eventually("all are gone", within: .milliseconds(500)) {
                ProcessTable.startTime(of: postmaster.pid) == nil && ProcessTable.processes(ofDirectory: after).isEmpty
            }
        }
    }

    /// The next agent learns from the one before where the server stands, and nothing from a note of another boot, or a damaged one.
    @Test(arguments: [true, false]) func anAgentThatStartsAfterTheRenamingKnowsTheServer(isSound: Bool) throws {
        try Scratch.run { scratch in
            let server = try scratch.server("a")
            let (before, after) = (server.settings.dataDirectory, server.settings.dataDirectory + ".moved")
            let note = server.settings.stateDirectory + "/postmaster"
            _ = try server.instance.start(.primary, deadline: .seconds(30))
            try eventually("it is written down") { try DurableFile.read(note)?.last == UInt8(ascii: "\n") }
            #expect(rename(before, after) == 0)
            defer { rename(after, before) }
            defer { for pid in ProcessTable.processes(ofDirectory: after) { ProcessTable.signal(pid, SIGKILL) } }
            if !isSound {
                let text = String(decoding: try DurableFile.read(note) ?? [], as: UTF8.self)
                try OwnedFiles(user: "postgres").write("x" + text, to: note)
            }
            InstanceProcesses.known.withLock { $0[before] = nil }
            let watch = try Watch(server.settings) { _ in }
            defer { withExtendedLifetime(watch) {} }
            #expect(server.instance.livingProcesses().isEmpty != isSound)
        }
    }

    @Test func whyAServerCannotStartIsTold() throws {
        try Scratch.run { scratch in
            let server = try scratch.server("a", "max_connections = nonsense")
            let error = #expect(throws: PostgresError.self) {
                _ = try server.instance.start(.standby, deadline: .seconds(30))
            }
            #expect(error?.happened.contains("max_connections") == true, "\(String(describing: error))")
        }
    }

    @Test func stalePidFileOfAForeignProcessDoesNotHinder() throws {
        try Scratch.run { scratch in
            let server = try scratch.server("a")
            // A process of the same user that lives, and is no postmaster of this directory.
            var stranger: pid_t = 0
            let words = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "sleep", "60"]
            var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) }
            arguments.append(nil)
            defer { for argument in arguments { free(argument) } }
            #expect(posix_spawnp(&stranger, "setpriv", nil, nil, arguments, environ) == 0)
            defer {
                kill(stranger, SIGKILL)
                var status: Int32 = 0
                waitpid(stranger, &status, 0)
            }
            try OwnedFiles(user: "postgres").write(
                "\(stranger)\n\(server.settings.dataDirectory)\n1\n\(server.settings.port)\n",
                to: server.settings.inData("postmaster.pid"))
            #expect(try server.instance.postmaster() == nil)
            #expect(try server.instance.start(.primary, deadline: .seconds(30)).isOpen)
        }
    }

    @Test func everyProcessIsEndedAlsoWithoutPostmasterAndABusyBackend() throws {
        try Scratch.run { scratch in
            let server = try scratch.server("a")
            let postmaster = try server.instance.start(.primary, deadline: .seconds(30)).postmaster
            let busy = try server.session()
            try busy.begin("select count(*) from generate_series(1, 1000000000)")
            _ = ProcessTable.signal(postmaster.pid, SIGKILL)
            try eventually("the postmaster is gone") { try server.instance.postmaster() == nil }
            #expect(server.instance.livingProcesses().contains(busy.backend))
            #expect(throws: PostgresError.self) {
                try server.instance.stop(.fast, deadline: .milliseconds(200))
            }
            #expect(throws: PostgresError.self) {
                _ = try server.instance.start(.standby, deadline: .seconds(5))
            }
            let end = server.instance.endAll(deadline: .seconds(5))
            #expect(end.isComplete)
            #expect(server.instance.livingProcesses().isEmpty)
            // Crash recovery, then open.
            #expect(try server.instance.start(.primary, deadline: .seconds(30)).isOpen)
        }
    }

    @Test func promotionIsQuickAndTellsItsForkAndMayBeRepeated() throws {
        try Scratch.run { scratch in
            let primary = try scratch.server("a")
            _ = try primary.instance.start(.primary, deadline: .seconds(30))
            let standby = try scratch.standby(of: primary, "b", "primary_conninfo = '\(primary.conninfo(as: "b"))'")
            _ = try standby.instance.start(.standby, deadline: .seconds(30))
            try primary.sql("create table public.t as select generate_series(1, 1000) as n")
            try eventually("the standby has it") {
                do {
                    return try standby.sql("select count(*) from public.t") == "1000"
                } catch is SessionError { return false }
            }
            try standby.instance.keepReady()
            _ = primary.instance.endAll(deadline: .seconds(5))
            let phases = try standby.instance.promote(deadline: .seconds(20))
            print("promotion: \(phases)")
            #expect(!phases.wasOpen)
            #expect(phases.timeline == 2)
            #expect(phases.parentTimeline == 1)
            #expect(phases.fork != nil)
            #expect(phases.total < .seconds(3))
            #expect(OwnedFiles.exists(standby.instance.standbySignal))
            let again = try standby.instance.promote(deadline: .seconds(20))
            #expect(again.wasOpen)
            #expect(again.timeline == 2)
            try standby.sql("insert into public.t values (0)")
        }
    }

    @Test func promotionWorksWhenNoSessionIsToBeHad() throws {
        try Scratch.run { scratch in
            let primary = try scratch.server("a")
            _ = try primary.instance.start(.primary, deadline: .seconds(30))
            let standby = try scratch.standby(of: primary, "b", "hot_standby = off")
            _ = try standby.instance.start(.standby, deadline: .seconds(30))
            try eventually("it recovers") {
                do {
                    try standby.sql("select 1")
                    return true
                } catch let error as SessionError { return error.sqlstate == "57P03" }
            }
            let phases = try standby.instance.promote(deadline: .seconds(20))
            #expect(phases.timeline == 2)
            #expect(try standby.sql("select pg_is_in_recovery()") == "f")
        }
    }

    @Test func copyMarkIsReadAsWrittenAndADamagedOneIsRefused() throws {
        try Scratch.run { scratch in
            let copy = try #require(CopyID(String(repeating: "0a", count: 16)))
            let mark = LocalPostgres.CopyMark(copy: copy, node: "a")
            #expect(try CopyMarkFile.read(scratch.folder) == nil)
            try CopyMarkFile.write(mark, scratch.folder)
            #expect(try CopyMarkFile.read(scratch.folder) == mark)
            let path = scratch.folder + "/" + CopyMarkFile.name
            let text = String(decoding: try DurableFile.read(path) ?? [], as: UTF8.self)
            for damaged in ["", String(text.dropLast(1)), text.replacing("node a", with: "node b"), text + "x"] {
                try DurableFile.write([UInt8](damaged.utf8), to: path, mode: 0o600)
                #expect(throws: PostgresError.self) { _ = try CopyMarkFile.read(scratch.folder) }
            }
        }
    }
}
