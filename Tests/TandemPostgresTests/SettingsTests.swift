import Testing

@testable import TandemCore
@testable import TandemPostgres
@testable import TandemSystem

extension ManagedSettings {
    /// For a server of a test: its own port, so that nothing is to be restarted but for what we ask.
    static func test(
        _ server: ScratchServer, own: CopyID? = nil, peer: ScratchServer? = nil, standby: CopyID? = nil,
        slot: String? = nil
    ) -> ManagedSettings {
        ManagedSettings(
            cluster: "o'rders", node: "a", port: server.settings.port, ownCopy: own,
            peer: peer.map {
                ManagedSettings.Peer(
                    address: "127.0.0.1", port: $0.settings.port, user: "postgres", passFile: "/nonexistent", slot: slot)
            }, synchronousStandby: standby, slotKeepMegabytes: 256)
    }
}

@Suite(.serialized) struct SettingsTests {
    @Test func everySettingOfOursIsTakenByTheServerAsItWasMeant() throws {
        try Scratch.run { scratch in
            let server = try scratch.server("a")
            let own = CopyID(high: 1, low: 2)
            var wanted = ManagedSettings.test(server, own: own, peer: server, standby: CopyID(high: 3, low: 4), slot: "s")
            wanted.peer?.passFile = "/a folder/it's \\ here"
            let before = try server.instance.configure(wanted)
            #expect(before.wasWritten)
            #expect(!before.isLoaded)
            _ = try server.instance.start(.primary, deadline: .seconds(30))
            let again = try server.instance.configure(wanted)
            #expect(!again.wasWritten)
            #expect(again.isLoaded)
            #expect(again.pendingRestart.isEmpty)
            #expect(again.overrides.isEmpty, "\(again.overrides)")
            let session = try server.session()
            let shown = try session.query(
                "select name, current_setting(name) from pg_catalog.pg_settings where name = any($1::text[])",
                [Instance.arrayText(wanted.values.map(\.name))], deadline: .seconds(5)
            ).rows
            #expect(shown.count == wanted.values.count)
            for (name, value) in wanted.values {
                #expect(shown.first { $0[0] == name }?[1] == value, "\(name)")
            }
            // libpq reads the connection string as it was meant.
            #expect(wanted.primaryConnection.contains("passfile='/a folder/it\\'s \\\\ here'"))
            #expect(!server.instance.lastLogLines(30).contains("invalid"))
        }
    }

    @Test func reloadAndRestartAndOverridesAreTold() throws {
        try Scratch.run { scratch in
            let server = try scratch.server("a")
            var wanted = ManagedSettings.test(server)
            _ = try server.instance.configure(wanted)
            _ = try server.instance.start(.primary, deadline: .seconds(30))
            wanted.synchronousStandby = CopyID(high: 5, low: 6)
            let loaded = try server.instance.configure(wanted)
            #expect(loaded.wasWritten && loaded.isLoaded)
            #expect(loaded.pendingRestart.isEmpty)
            #expect(loaded.overrides.isEmpty)
            wanted.walSenders = 17
            #expect(try server.instance.configure(wanted).pendingRestart == ["max_wal_senders"])
            #expect(try server.instance.configure(wanted).overrides.isEmpty)

            // ALTER SYSTEM wins over every file.
            try server.sql("alter system set wal_sender_timeout = '60s'")
            try server.sql("select pg_reload_conf()")
            try eventually("the override is told") {
                let override = try server.instance.overrides(wanted, deadline: .seconds(5)).first
                return override?.name == "wal_sender_timeout" && override?.line == 3
                    && override?.file?.hasSuffix("postgresql.auto.conf") == true
            }
            try server.instance.resetSystemSettings(wanted)
            _ = try server.instance.configure(wanted)
            try server.sql("select pg_reload_conf()")
            try eventually("the override is gone") {
                try server.instance.overrides(wanted, deadline: .seconds(5)).isEmpty
            }

            // A line after our include.
            let file = server.settings.effectiveConfigFile
            let text = String(decoding: try DurableFile.read(file) ?? [], as: UTF8.self)
            try OwnedFiles(user: "postgres").write(text + "restart_after_crash = on\n", to: file)
            try server.sql("select pg_reload_conf()")
            try eventually("the line is told") {
                let override = try server.instance.overrides(wanted, deadline: .seconds(5)).first
                return override?.name == "restart_after_crash" && override?.file == file
            }
        }
    }

    @Test func slotsCheckpointAndLineageMayBeRepeated() throws {
        try Scratch.run { scratch in
            let server = try scratch.server("a")
            _ = try server.instance.start(.primary, deadline: .seconds(30))
            for _ in 0..<2 { try server.instance.ensureSlot("pgtandem_b") }
            #expect(try server.sql("select count(*) from pg_replication_slots where restart_lsn is not null") == "1")
            for _ in 0..<2 { try server.instance.dropSlot("pgtandem_b") }
            #expect(try server.sql("select count(*) from pg_replication_slots") == "0")
            try server.instance.checkpoint(deadline: .seconds(20))
            #expect(try server.instance.lineage().isEmpty)
            let entry = Instance.LineageEntry(
                term: Term(.max), copy: CopyID(high: 7, low: 8), parent: Term(3), lsn: LSN(0x1_0000_0028))
            for _ in 0..<2 { try server.instance.recordLineage(entry.term, entry.copy, parent: entry.parent, entry.lsn) }
            try server.instance.recordLineage(Term(1), entry.copy, parent: nil, LSN(5))
            #expect(try server.instance.lineage().first == entry)
            #expect(try server.instance.lineage().count == 2)
            #expect(try server.instance.position() > LSN(0))
        }
    }
}
