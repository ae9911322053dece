import Glibc
import Synchronization
import Testing

@testable import TandemCore
@testable import TandemPostgres
@testable import TandemSystem

@Suite(.serialized) struct SynchronousTests {
    private let copy = CopyID(high: 1, low: 1)

    /// A primary, and a standby that streams over the network from the address given.
    private func pair(_ scratch: Scratch) throws -> (ScratchServer, ScratchServer) {
        let primary = try scratch.server("a", "synchronous_commit = on")
        _ = try primary.instance.configure(.test(primary))
        _ = try primary.instance.start(.primary, deadline: .seconds(30))
        let standby = try scratch.standby(of: primary, "b")
        _ = try standby.instance.configure(.test(standby, own: copy, peer: primary))
        _ = try standby.instance.start(.standby, deadline: .seconds(30))
        try eventually("the standby streams") {
            try primary.sql("select count(*) from pg_stat_replication where state = 'streaming'") == "1"
        }
        return (primary, standby)
    }

    @Test func waitingIsProvedBeforeTheAnswer() throws {
        try Scratch.run { scratch in
            let (primary, standby) = try pair(scratch)
            // Nobody asked for it: refused, and commits go on.
            let idle = #expect(throws: PostgresError.self) {
                _ = try primary.instance.confirmSynchronous(
                    copy, standbyAddresses: ["127.0.0.1"], deadline: .milliseconds(300))
            }
            #expect(idle?.happened.contains("synchronous_standby_names") == true)

            for _ in 0..<5 {
                _ = try primary.instance.configure(.test(primary, standby: copy))
                let begun = SystemClock.now()
                let position = try primary.instance.confirmSynchronous(
                    copy, standbyAddresses: ["192.0.2.1", "127.0.0.1"], deadline: .seconds(10))
                print("confirmed after \((SystemClock.now() - begun) / 1000) us")
                #expect(position > LSN(0))
                // From here on every commit waits: with the standby stopped none returns.
                let all = standby.instance.livingProcesses()
                for pid in all { _ = ProcessTable.signal(pid, SIGSTOP) }
                var target = SessionTarget(primary.settings)
                target.synchronousCommit = "on"
                let client = try Session(to: target, deadline: .seconds(5))
                #expect(throws: SessionError.self) {
                    _ = try client.query("create table public.t (n int)", deadline: .milliseconds(300))
                }
                // Ours do not wait.
                try primary.instance.recordLineage(Term(1), copy, parent: nil, LSN(1))
                for pid in all { _ = ProcessTable.signal(pid, SIGCONT) }
                try primary.instance.waitConfirmed(copy, try primary.instance.position(), deadline: .seconds(10))
                try eventually("the commit got through") {
                    try primary.sql("select to_regclass('public.t') is not null") == "t"
                }
                try primary.sql("drop table public.t")
                _ = try primary.instance.configure(.test(primary))
            }
        }
    }

    @Test func whatIsMissingIsToldAndTheProbeLeavesNothingBehind() throws {
        try Scratch.run { scratch in
            let (primary, standby) = try pair(scratch)
            _ = try primary.instance.configure(.test(primary, standby: copy))
            func reason(_ copy: CopyID, _ addresses: [String]) throws -> String {
                let error = #expect(throws: PostgresError.self) {
                    _ = try primary.instance.confirmSynchronous(copy, standbyAddresses: addresses, deadline: .milliseconds(500))
                }
                return error?.happened ?? ""
            }
            #expect(try reason(copy, ["192.0.2.1"]).contains("comes from 127.0.0.1"))
            // The standby hangs: the probe waits, is seen, and nothing is confirmed.
            _ = try primary.instance.confirmSynchronous(copy, standbyAddresses: ["127.0.0.1"], deadline: .seconds(10))
            let all = standby.instance.livingProcesses()
            for pid in all { _ = ProcessTable.signal(pid, SIGSTOP) }
            #expect(try reason(copy, ["127.0.0.1"]).contains("has flushed"))
            for pid in all { _ = ProcessTable.signal(pid, SIGCONT) }
            // Another copy's name is set: our sender does not count.
            let other = CopyID(high: 9, low: 9)
            _ = try primary.instance.configure(.test(primary, standby: other))
            #expect(try reason(other, ["127.0.0.1"]).contains("No sender"))
            #expect(try reason(copy, ["127.0.0.1"]).contains("synchronous_standby_names is not"))
            _ = try primary.instance.configure(.test(primary, standby: nil))
            try eventually("nothing of ours is left but the kept session") {
                try primary.sql(
                    "select count(*) from pg_stat_activity where application_name = 'pgtandem agent' and wait_event = 'SyncRep'"
                ) == "0"
            }
        }
    }

    /// The checkpointer, stopped, cannot switch waiting on: this is the race of `hazards.md` H90, made to last.
    @Test func namesWithoutEffectAreNotConfirmed() throws {
        try Scratch.run { scratch in
            let (primary, _) = try pair(scratch)
            let text = try primary.sql("select pid from pg_stat_activity where backend_type = 'checkpointer'")
            let checkpointer = try #require(text.flatMap { Int32($0) })
            _ = ProcessTable.signal(checkpointer, SIGSTOP)
            defer { _ = ProcessTable.signal(checkpointer, SIGCONT) }
            _ = try primary.instance.configure(.test(primary, standby: copy))
            try eventually("the sender says sync") {
                try primary.sql("select sync_state from pg_stat_replication") == "sync"
            }
            let error = #expect(throws: PostgresError.self) {
                _ = try primary.instance.confirmSynchronous(copy, standbyAddresses: ["127.0.0.1"], deadline: .seconds(2))
            }
            #expect(error?.happened.contains("No commit was seen to wait") == true, "\(String(describing: error))")
            _ = ProcessTable.signal(checkpointer, SIGCONT)
            _ = try primary.instance.confirmSynchronous(copy, standbyAddresses: ["127.0.0.1"], deadline: .seconds(10))
        }
    }
}
