import Glibc
import TandemLab
import TandemSystem
import Testing

extension OnHosts {
    /// Wall time decides nothing (`protocol.md` 3.1). The clock of one host is moved by a preloaded library, under the services and under
    /// PostgreSQL: a stand-in, as one machine has one wall clock.
    @Suite struct WhenClocksLie {
        @Test(arguments: [5.0, -5.0]) func theWallClockOfThePrimaryJumps(hours: Double) throws {
            try PairOnHosts.story(arbiter: "witness", movableWallClocks: ["a"]) { pair in
                try pair.nothingHappens {
                    try pair.a.moveWallClock(hours: hours)
                    pair.letTimePass(PairOnHosts.lease * 2)
                }
                let began = SystemClock.now()
                try pair.a.powerOff()
                try pair.waitUntilAlone(pair.b)
                try pair.letClientsWrite(50)
                try pair.wereOut(since: began)
                try pair.a.boot()
                try pair.waitUntilWhole(primary: "b")
            }
        }

        /// By the clock of this host every certificate ended years ago: its agent warns, and both links come up all the same.
        @Test func everyCertificateIsOutOfDate() throws {
            try PairOnHosts.story(arbiter: "witness", movableWallClocks: ["a"]) { pair in
                try pair.nothingHappens {
                    try pair.a.moveWallClock(hours: 24 * 365 * 30)
                    try pair.a.signalService(SIGKILL)
                    try pair.wait("its agent is back, hears the other one, and reaches the witness") {
                        guard let status = pair.statusIfAny(pair.a) else { return false }
                        return status.peer.reachable && status.arbiter.reachable == true && status.role == "primary"
                    }
                }
                let log = try String(contentsOfLog: pair.a)
                #expect(log.contains("it still works; make a new one with `pgtandem tls renew`"), "it warns")
                try pair.waitUntilWhole(primary: "a")
            }
        }
    }

    /// All of them are made anew from the same authority, and taken up one after the other while the pair runs.
    @Suite struct WhenCertificatesAreRenewed {
        @Test func theNewOnesAreServedAndNobodyNotices() throws {
            try PairOnHosts.story(arbiter: "witness") { pair in
                try pair.nothingHappens {
                    let folder = "\(pair.lab.folder)/tls"
                    let renewed = try Tool(
                        PairOnHosts.binary, ["tls", "renew", "--cluster", LabConfiguration().cluster, "--directory", folder]
                    )
                    .run(deadline: .seconds(30))
                    #expect(renewed.succeeded, "\(renewed.errors)")
                    for host in [pair.a, pair.b] { try Self.serves(pair, host, port: 7432, hasNew: false) }
                    for host in [pair.a, pair.b] {
                        try pair.script.copyCertificates(to: host)
                        try host.signalService(SIGHUP)
                        try Self.serves(pair, host, port: 7432, hasNew: true)
                    }
                    try pair.script.copyCertificates(to: pair.w)
                    try pair.w.signalService(SIGHUP, .witness)
                    try Self.serves(pair, try pair.w, port: Lab.witnessPort, hasNew: true)
                    // What cannot be used is told, and the ones in use stay.
                    try pair.b.configure(files: [
                        "\(LabConfiguration.tlsDirectory)/node.crt": HostFile("nothing", owner: "postgres")
                    ])
                    try pair.b.signalService(SIGHUP)
                    try pair.wait("it says so") { try String(contentsOfLog: pair.b).contains("the old ones stay in use") }
                    try pair.script.copyCertificates(to: pair.b)
                    try Self.serves(pair, pair.b, port: 7432, hasNew: true)
                    // All connections new: an agent that starts has none of before.
                    try pair.b.signalService(SIGKILL)
                    try pair.wait("its agent is back, and reaches the other one and the witness") {
                        guard let status = pair.statusIfAny(pair.b) else { return false }
                        return status.peer.reachable && status.arbiter.reachable == true && status.role == "standby"
                    }
                }
                try pair.waitUntilWhole(primary: "a")
            }
        }

        /// Whether it comes to show the certificate that was made last.
        private static func serves(_ pair: PairOnHosts, _ host: LabHost, port: Int, hasNew: Bool) throws {
            let folder = "\(pair.lab.folder)/tls"
            let isWitness = port == Lab.witnessPort
            let client = """
                import socket, ssl, sys
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
                context.load_cert_chain("\(LabConfiguration.tlsDirectory)/node.crt", "\(LabConfiguration.tlsDirectory)/node.key")
                with socket.create_connection((sys.argv[1], int(sys.argv[2])), 2) as plain:
                    with context.wrap_socket(plain, server_hostname=sys.argv[3]) as tls:
                        print(ssl.DER_cert_to_PEM_cert(tls.getpeercert(True)))
                """
            let address = isWitness ? Lab.witnessAddress : host.address
            let made = try String(contentsOfFile: "\(folder)/\(isWitness ? "witness" : host.name)/node.crt", encoding: .utf8)
            func lines(_ text: String) -> String { text.filter { !$0.isWhitespace } }
            try pair.wait("\(host.name) shows \(hasNew ? "its new" : "another") certificate") {
                let seen = try pair.a.run(
                    [
                        "/usr/bin/python3", "-c", client, address, "\(port)",
                        "\(isWitness ? "witness" : host.name).\(LabConfiguration().cluster).pgtandem",
                    ])
                return seen.succeeded && (lines(seen.output) == lines(made)) == hasNew
            }
        }
    }

    /// Asynchronous mode: what was acknowledged on one host alone may be lost with it, within the limits, and it is told.
    @Suite struct WhenCommitsAreAsynchronous {
        @Test func whatThePrimaryAloneHadIsLostWithItAndTold() throws {
            var configuration = LabConfiguration()
            configuration.arbiterKind = "witness"
            configuration.mode = "asynchronous"
            var cut: Int64 = 0
            func alone(_ pair: PairOnHosts) throws -> Int {
                try pair.clientLog().acknowledged.count { $0.node == "a" && $0.acknowledged >= cut }
            }
            try PairOnHosts.story(configuration, mayLose: alone) { pair in
                cut = SystemClock.now()
                // WAL does not arrive any more; heartbeats do.
                try pair.lab.cut(from: "a", to: "b", tcpPort: 5432)
                try pair.letClientsWrite(20)
                try pair.a.powerOff()
                try pair.waitUntilAlone(pair.b)
                try pair.letClientsWrite(50)
                try pair.lab.heal()
                try pair.a.boot()
                try pair.waitUntilWhole(primary: "b")
                let log = try String(contentsOfLog: pair.a)
                #expect(log.contains("that branch of its WAL is kept"), "\(log.suffix(2000))")
                #expect(log.contains("lost bytes="), "the log says how much")
                let report = try pair.a.demand(["sh", "-c", "cat /var/lib/pgtandem/diverged/*/report*"])
                #expect(report.contains("commits"), "\(report)")
            }
        }
    }
}
