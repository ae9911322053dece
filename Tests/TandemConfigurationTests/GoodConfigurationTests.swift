import TandemCore
import Testing

@testable import TandemConfiguration

@Suite struct GoodConfigurationTests {
    @Test func theDefaultsAreTheDocumentedOnes() throws {
        let configuration = try Fixture.parse(Fixture.minimal)
        #expect(configuration.warnings.isEmpty)
        #expect(configuration.cluster == "orders")
        #expect(configuration.node == "a")
        #expect(configuration.thisNode.addresses.map(\.description) == ["10.77.0.11"])
        #expect(configuration.peer.name == "b")
        #expect(configuration.agentPort == 7432)
        #expect(configuration.gateway == nil)
        #expect(configuration.virtualAddresses.primary.map(\.description) == ["10.77.0.100/32"])
        #expect(configuration.postgresql.binDirectory == "/usr/lib/postgresql/15/bin")
        #expect(configuration.postgresql.configFile == "/var/lib/postgresql/15/main/postgresql.conf")
        #expect(configuration.postgresql.hbaFile == "/var/lib/postgresql/15/main/pg_hba.conf")
        #expect(configuration.postgresql.osUser == "postgres")
        #expect(configuration.postgresql.database == "postgres")
        #expect(configuration.postgresql.port == 5432)
        #expect(configuration.postgresql.socketDirectory == "/var/run/postgresql")
        #expect(configuration.postgresql.superuser == "postgres")
        #expect(configuration.replication.mode == .synchronous)
        #expect(configuration.replication.user == "pgtandem_replication")
        #expect(configuration.replication.passwordFile == "/etc/pgtandem/replication.pass")
        #expect(configuration.limits.promote == .init(bytes: 16 << 20, age: .seconds(60)))
        #expect(configuration.limits.handoverBytes == 16 << 20)
        #expect(configuration.limits.maxStaleness == .seconds(30))
        #expect(configuration.limits.returnStandbyAddress == .init(bytes: 4 << 20, age: .seconds(5)))
        #expect(configuration.arbiter.kind == .manual)
        #expect(configuration.timing == .init(.standard))
        #expect(configuration.tls.keyFile == "/etc/pgtandem/tls/node.key")
        #expect(configuration.log == .init(format: .text, level: .info))
        #expect(configuration.stateDirectory == "/var/lib/pgtandem")
        #expect(configuration.controlSocket == "/run/pgtandem/pgtandem.sock")
    }

    @Test func aWindowMayGoOverMidnight() throws {
        let night = try DailyWindow.parse("22:30-05:00")
        #expect(night.description == "22:30-05:00")
        for (minute, isOpen) in [(1350, true), (1380, true), (0, true), (299, true), (300, false), (720, false), (1349, false)] {
            #expect(night.isOpen(at: minute) == isOpen, "\(minute)")
        }
        let morning = try DailyWindow.parse("1:00-05:00")
        #expect(morning.isOpen(at: 60) && !morning.isOpen(at: 59) && !morning.isOpen(at: 300))
        #expect(try DailyWindow.parse("20:00-24:00").isOpen(at: 1439))
        #expect(DailyWindow.always.isOpen(at: 0))
    }

    @Test func theDocumentedExampleIsReadWithoutAWarning() throws {
        let configuration = try Configuration.load(path: Fixture.repositoryFile("docs/pgtandem.example.yml"))
        #expect(configuration.warnings.isEmpty)
        #expect(configuration.postgresql.configFile == "/etc/postgresql/15/main/postgresql.conf")
    }

    @Test func theDocumentedExampleNamesEveryKeyWithItsDefault() throws {
        let example = try Configuration.load(path: Fixture.repositoryFile("docs/pgtandem.example.yml"))
        let values = example.effectiveValues()
        let absent = values.filter { $0.origin == .byDefault }.map(\.key)
        #expect(
            absent == ["timing.heartbeat", "timing.lease"], "both come with the profile; all else stands in the example")
        let minimal = try Fixture.parse(
            Fixture.replacing("{ kind: manual }", "{ kind: witness, witness: { address: 10.77.0.13 } }")
        ).effectiveValues()
        let other = zip(values, minimal).filter { $0.value != $1.value }.map(\.0.key)
        #expect(other == ["postgresql.config_file", "postgresql.hba_file"], "Debian's places, said so in the example")
    }

    @Test func theWitnessIsReadAndMustBeTheSameOnBothHosts() throws {
        let text = Fixture.replacing("{ kind: manual }", "{ kind: witness, witness: { address: 10.77.0.13, port: 7500 } }")
        let configuration = try Fixture.parse(text)
        #expect(configuration.arbiter.kind == .witness)
        #expect(configuration.arbiter.witness?.address.description == "10.77.0.13")
        #expect(configuration.arbiter.witness?.port == 7500)
        let other = try Fixture.parse(text.replacing("port: 7500", with: "port: 7501"))
        let differing = Configuration.differingKeys(configuration.clusterWideValues(), other.clusterWideValues())
        #expect(differing == ["arbiter.witness"])
        #expect(configuration.clusterWideDigest() != other.clusterWideDigest())
    }

    @Test func aWitnessMayStandBesideManualWhileThePairGoesOver() throws {
        let text = Fixture.replacing("{ kind: manual }", "{ kind: manual, witness: { address: 10.77.0.13 } }")
        let arbiter = try Fixture.parse(text).arbiter
        #expect(arbiter.kind == .manual)
        #expect(arbiter.witness?.port == 7433)
    }

    @Test func theWatchdogIsNoneOrADevice() throws {
        #expect(try Fixture.parse(Fixture.minimal).watchdog.device == nil)
        #expect(try Fixture.parse(Fixture.minimal + "watchdog: { device: /dev/watchdog }\n").watchdog.device == "/dev/watchdog")
    }

    @Test func nodesAreTheSameOnBothHostsWhateverTheirOrder() throws {
        let text = Fixture.replacing("  a: { addresses: [10.77.0.11] }\n", "")
            .replacing(
                "  b: { addresses: [10.77.0.12] }\n", with: "  b: { addresses: [10.77.0.12] }\n  a: { addresses: [10.77.0.11] }\n"
            )
        #expect(try Fixture.parse(text).nodes == Fixture.parse(Fixture.minimal).nodes)
    }

    @Test func addressesOfBothFamiliesAndPrefixesAreRead() throws {
        let text = Fixture.replacing("primary: [10.77.0.100]", "primary: [10.77.0.100/24, \"FD00:77:0::100\", fd00:77::1/64]")
        let addresses = try Fixture.parse(text).virtualAddresses.primary
        #expect(addresses.map(\.description) == ["10.77.0.100/24", "fd00:77::100/128", "fd00:77::1/64"])
        #expect(addresses.map(\.address.family) == [.ipv4, .ipv6, .ipv6])
    }

    @Test func severalAddressesKeepTheirOrder() throws {
        let text = Fixture.replacing("[10.77.0.11]", "[10.78.0.11, 10.77.0.11]").replacing(
            "[10.77.0.12]", with: "[10.78.0.12, 10.77.0.12]")
        #expect(try Fixture.parse(text).thisNode.addresses.map(\.description) == ["10.78.0.11", "10.77.0.11"])
    }

    @Test func aHeartbeatOfOnesOwnTakesThePlaceOfTheProfile() throws {
        let configuration = try Fixture.parse(Fixture.minimal + "timing: { heartbeat: 500ms }\n")
        #expect(configuration.timing.profile == nil)
        #expect(
            configuration.timing.durations
                == Timing(
                    heartbeat: .milliseconds(500), lease: .seconds(5), margin: .milliseconds(300), answer: .milliseconds(250)))
    }

    @Test(arguments: [("standard", Timing.standard), ("fast", .fast), ("relaxed", .relaxed)])
    func aProfileHasItsDurationsAndSoHasItsHeartbeatAlone(profile: String, durations: Timing) throws {
        let timing = try Fixture.parse(Fixture.minimal + "timing: { profile: \(profile) }\n").timing
        #expect(timing.profile?.rawValue == profile)
        #expect(timing.durations == durations)
        #expect(durations.isSound)
        let alone = "timing: { heartbeat: \(durations.heartbeat.text) }\n"
        #expect(try Fixture.parse(Fixture.minimal + alone).timing.durations == durations)
    }

    @Test(arguments: [
        ("200ms", "1300ms", Duration.milliseconds(1300), Duration.milliseconds(300)),
        ("200ms", "1200ms", .milliseconds(1200), .milliseconds(300)), ("100ms", "999ms", .milliseconds(999), .milliseconds(100)),
        ("24ms", "236ms", .milliseconds(236), .milliseconds(100)), ("1s", "10min", .seconds(600), .milliseconds(300)),
    ])
    func aLeaseOfOnesOwnStandsBesideTheHeartbeat(heartbeat: String, lease: String, length: Duration, margin: Duration) throws {
        let timing = try Fixture.parse(Fixture.minimal + "timing: { heartbeat: \(heartbeat), lease: \(lease) }\n").timing
        #expect(timing.lease == length)
        #expect(timing.durations.margin == margin)
        #expect(timing.durations.isSound)
    }

    @Test(arguments: [10, 23, 24, 99, 100, 200, 230, 500, 10_000])
    func theLeaseThatIsAdvisedIsTheShortestSoundOne(heartbeat: Int) {
        let pace = Duration.milliseconds(heartbeat)
        let least = Configuration.Timing(heartbeat: pace).leastLease
        #expect(Configuration.Timing(heartbeat: pace, lease: least).durations.isSound)
        #expect(!Configuration.Timing(heartbeat: pace, lease: least - .milliseconds(1)).durations.isSound)
    }

    @Test func sectionsWithoutContentKeepTheirDefaults() throws {
        let text = Fixture.minimal + "replication:\nlog:\ntls: {}\n"
        #expect(
            try Fixture.parse(text).effectiveValues().map(\.value)
                == Fixture.parse(Fixture.minimal).effectiveValues().map(\.value))
    }

    @Test func quotedTextsCommentsWindowsLinesAndAByteOrderMarkAreRead() throws {
        let text = Fixture.replacing("cluster: orders", "cluster: \"orders\"   # the pair").replacing("\n", with: "\r\n")
        #expect(try Fixture.parse("\u{FEFF}" + text).cluster == "orders")
    }

    @Test func slashesAtTheEndOfAPathAreDropped() throws {
        let text = Fixture.replacing("/var/lib/postgresql/15/main", "/var/lib/postgresql/15/main//")
        #expect(try Fixture.parse(text).postgresql.configFile == "/var/lib/postgresql/15/main/postgresql.conf")
    }

    @Test(arguments: [
        ("200ms", Duration.milliseconds(200)), ("2s", .seconds(2)), ("1min", .seconds(60)), ("1h", .seconds(3600)),
        ("1d", .seconds(86400)), ("90 s", .seconds(90)),
    ])
    func durationsAreReadInPostgreSQLsUnits(text: String, duration: Duration) throws {
        #expect(try Fixture.parse(Fixture.minimal + "limits: { promote: { age: \(text) } }\n").limits.promote.age == duration)
    }

    @Test(arguments: [
        ("512kB", Int64(512 << 10)), ("64MB", 64 << 20), ("1GB", 1 << 30), ("2TB", 2 << 40), ("8192", 8192), ("8192B", 8192),
        ("1 MB", 1 << 20),
    ])
    func sizesAreReadInPostgreSQLsUnits(text: String, bytes: Int64) throws {
        #expect(try Fixture.parse(Fixture.minimal + "limits: { handover: { bytes: \(text) } }\n").limits.handoverBytes == bytes)
    }
}
