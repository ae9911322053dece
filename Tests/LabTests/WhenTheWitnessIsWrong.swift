import Foundation
import TandemLab
import TandemSystem
import TandemWire
import Testing

extension OnHosts {
    /// A witness that runs, and is not to be relied on. The pair goes on as without one, nothing is promoted by it, and `status` says why and
    /// what to do.
    @Suite struct WhenTheWitnessIsWrong {
        private static let state = LabConfiguration.witnessStateDirectory
        private static let record = "\(state)/pairs/orders"

        /// The address is that of another cluster's witness, or its certificates are of another run of `tls create`.
        @Test func itIsAnotherClusters() throws {
            try PairOnHosts.story(arbiter: "witness") { pair in
                let tls = LabConfiguration.witnessTLSDirectory
                try pair.onWitness("mv \(tls) \(tls).kept")
                for cluster in ["others", "orders"] {
                    try pair.undisturbed {
                        try pair.w.stopService(.witness)
                        try pair.onWitness(
                            "rm -rf /tmp/made \(tls) && \(LabHost.programPath) tls create --cluster \(cluster) --directory /tmp/made --nodes a,b"
                                + " && cp -r /tmp/made/witness \(tls)")
                        try pair.w.startService(.witness)
                        try pair.saysOfTheWitness("certificate", "is not this cluster's witness", "Correct `arbiter.witness`")
                        pair.letTimePass(PairOnHosts.lease * 2)
                    }
                }
                try pair.w.stopService(.witness)
                try pair.onWitness("rm -r \(tls) && mv \(tls).kept \(tls)")
                try pair.w.startService(.witness)
                try pair.waitUntilWhole(primary: "a")
                for host in pair.lab.hosts { try pair.wait("it is forgotten") { try pair.status(host).arbiter.problem == nil } }
            }
        }

        /// Nothing is guessed from a damaged file, and it is not touched; a person's `forget` makes the witness good for a failover again.
        @Test func itsRecordIsDamaged() throws {
            try PairOnHosts.story(arbiter: "witness") { pair in
                var damaged: [UInt8]?
                try pair.undisturbed {
                    try pair.w.stopService(.witness)
                    try pair.onWitness("sed -i 's/\"paired\"/\"pbired\"/' \(Self.record)")
                    damaged = try DurableFile.read(pair.w.diskPath(of: Self.record))
                    try pair.w.startService(.witness)
                    try pair.saysOfTheWitness("damaged", "checksum", "pgtandem witness forget orders")
                    pair.letTimePass(PairOnHosts.lease * 2)
                }
                #expect(try DurableFile.read(pair.w.diskPath(of: Self.record)) == damaged, "it is left for a person")
                #expect(try pair.onWitness("\(LabHost.programPath) witness list").contains("gets no answers"))
                try pair.forgetsAndFailsOver(from: pair.a)
            }
        }

        /// What it says fits the ledger of a standby that was away since; only the lost primary has the commits of the time alone. A folder out of
        /// a backup is noticed, and no record in it counts.
        @Test func itsFolderIsRestoredAndOnlyTheOldStandbyIsThere() throws {
            try PairOnHosts.story(arbiter: "witness") { pair in
                // As it runs, so that not even its generation tells.
                try pair.onWitness("cp -a \(Self.state) /tmp/backup")
                try pair.b.powerOff()
                try pair.waitUntilAlone(pair.a)
                let ledger = try pair.status(pair.a)
                try pair.letClientsWrite(50)
                try pair.a.powerOff()
                try pair.w.stopService(.witness)
                try pair.onWitness("rm -r \(Self.state)/* && cp -a /tmp/backup/. \(Self.state)/")
                try pair.w.startService(.witness)
                try pair.b.boot()
                try pair.wait("the standby reaches it, and says that it has no record") {
                    guard let status = pair.statusIfAny(pair.b) else { return false }
                    return status.arbiter.reachable == true && status.arbiter.problem?.code == "recordLost"
                }
                pair.letTimePass(PairOnHosts.lease * 4)
                let status = try pair.status(pair.b)
                #expect(status.role == "standby" && status.bond == "paired" && !status.addresses.contains(Lab.primaryAddress))
                #expect(status.failover_ready.reasons?.map(\.code).contains("recordLost") == true)
                let log = try String(contentsOfLog: try pair.w)
                #expect(log.contains("the state directory is a copy, or was restored from a backup"), "\(log.suffix(2000))")
                try pair.a.boot()
                try pair.waitUntilWhole(primary: "a")
                #expect(
                    try pair.status(pair.a).term ?? 0 > ledger.term ?? 0,
                    "the primary has taken its next term for the lost record")
            }
        }

        /// A snapshot of its disk is put back, from before the roles were exchanged, and from an earlier start: nothing in the folder tells. Both
        /// hosts have seen more (3.3).
        @Test func itsDiskIsSetBackToAnOlderSnapshot() throws {
            try PairOnHosts.story(arbiter: "witness") { pair in
                let image = "/var/log/postgresql/witness.img"
                let unmount = "for i in $(seq 100); do umount \(Self.state) && break; sleep 0.1; done"
                try pair.w.stopService(.witness)
                try pair.onWitness(
                    "truncate -s 8M \(image) && mkfs.ext4 -q -F \(image) && cp -a \(Self.state) /tmp/kept"
                        + " && mount -o loop \(image) \(Self.state) && cp -a /tmp/kept/. \(Self.state)/")
                try pair.w.startService(.witness)
                try pair.waitUntilItHasARecord()
                try pair.w.stopService(.witness)
                try pair.onWitness("\(unmount); cp \(image) \(image).old && mount -o loop \(image) \(Self.state)")
                for _ in 1...2 {
                    try pair.w.startService(.witness)
                    try pair.waitUntilWhole(primary: "a")
                    try pair.w.stopService(.witness)
                }
                try pair.w.startService(.witness)
                try pair.waitUntilItHasARecord()
                try pair.ask(pair.a, "switchover")
                try pair.waitUntilWhole(primary: "b")
                try pair.wait("both have heard the newest record") {
                    try pair.lab.hosts.allSatisfy { host in
                        let status = try pair.status(host)
                        return status.arbiter.record?.term == status.term && status.arbiter.record?.step == status.step
                    }
                }
                // A standby asks only now and then, so not before it has heard of the exchange.
                let seen = try #require(try pair.status(pair.a).arbiter.record)
                try pair.undisturbed("b") {
                    try pair.w.stopService(.witness)
                    try pair.onWitness("\(unmount); cp \(image).old \(image) && mount -o loop \(image) \(Self.state)")
                    try pair.w.startService(.witness)
                    try pair.saysOfTheWitness("outdated", "restored from a backup", "pgtandem witness forget orders")
                    pair.letTimePass(PairOnHosts.lease * 2)
                }
                // The old record names A primary, and paired: it gives A nothing when B is lost.
                try pair.b.powerOff()
                pair.letTimePass(PairOnHosts.lease * 3)
                let status = try pair.status(pair.a)
                #expect(status.role == "standby" && status.term == seen.term && !status.addresses.contains(Lab.primaryAddress))
                #expect(!status.failover_ready.ok)
                try pair.b.boot()
                try pair.wait("they are paired") { pair.statusIfAny(pair.b)?.bond == "paired" }
                try pair.forgetsAndFailsOver(from: pair.b)
            }
        }

        /// A promise needs no disk, so leases go on; a change of the record waits, and both hosts say for what.
        @Test func itsDiskIsFull() throws {
            try PairOnHosts.story(arbiter: "witness") { pair in
                try pair.w.stopService(.witness)
                try pair.onWitness(
                    "cp -a \(Self.state) /tmp/kept && mount -t tmpfs -o size=128k,mode=700 none \(Self.state) && cp -a /tmp/kept/. \(Self.state)/"
                )
                try pair.w.startService(.witness)
                try pair.waitUntilItHasARecord()
                try pair.undisturbed {
                    try pair.onWitness("dd if=/dev/zero of=\(Self.state)/filler bs=512 2>&1 | grep -q 'No space left'")
                    pair.letTimePass(PairOnHosts.lease * 2)
                }
                try pair.wait("the pair is as whole as before", upTo: .seconds(1)) { pair.isWhole(primary: "a") }
                let its = try #require(try pair.status(pair.a).guard)
                #expect(
                    its.watchdog == "none" && its.not_covered?.hasPrefix("no hardware watchdog: if agent and guard both") == true)
                let term = try pair.status(pair.a).term
                try pair.b.powerOff()
                try pair.wait("the primary says why commits wait") {
                    let problem = try pair.status(pair.a).arbiter.problem
                    return problem?.code == "cannotWrite" && problem?.text.contains("No space left") == true
                }
                pair.letTimePass(PairOnHosts.lease * 2)
                let status = try pair.status(pair.a)
                #expect(status.role == "primary" && status.bond == "paired" && status.arbiter.reachable == true)
                #expect(
                    status.addresses == [Lab.primaryAddress], "its lease goes on, and `sole` is not reached before it is durable")
                try pair.onWitness("rm \(Self.state)/filler")
                try pair.waitUntilAlone(pair.a)
                #expect(try pair.status(pair.a).term == term)
                try pair.b.boot()
                try pair.waitUntilWhole(primary: "a")
                try pair.wait("the complaint is over") { try pair.status(pair.a).arbiter.problem == nil }
            }
        }

        /// The second one has certificates of the same authority, the same names, and another database: it is refused, and knows why.
        @Test func twoPairsOfOneNameUseIt() throws {
            try PairOnHosts.story(arbiter: "witness") { pair in
                try pair.undisturbed {
                    let other = try pair.secondPair()
                    defer { other.stop() }
                    try pair.wait("it says why the witness does not serve it", upTo: .seconds(40)) {
                        let said = try pair.w.run([PairOnHosts.binaryInside, "status", "--json"], deadline: .seconds(10))
                        guard said.succeeded else { return false }
                        let status = try JSON.decode(StatusDocument.self, from: Array(said.output.utf8))
                        // Alone it needs nobody.
                        return status.role == "primary_standby" && status.arbiter.problem?.code == "otherSystem"
                    }
                    let text = try pair.w.demand([PairOnHosts.binaryInside, "status"], deadline: .seconds(10))
                    for words in [
                        "witness: the name orders belongs to a pair", "needs another `cluster`", "[otherSystem]", "not reachable",
                    ] {
                        #expect(text.contains(words), "\(words): \(text)")
                    }
                    pair.letTimePass(PairOnHosts.lease * 2)
                }
                for host in pair.lab.hosts { #expect(try pair.status(host).arbiter.problem == nil, "\(host.name)") }
                #expect(pair.isWhole(primary: "a"))
            }
        }
    }
}

extension PairOnHosts {
    @discardableResult
    func onWitness(_ line: String) throws -> String { try w.demand(["/bin/sh", "-c", line]) }

    /// After a start on a copied folder, whose records do not count: both nodes write it anew.
    func waitUntilItHasARecord() throws {
        try wait("the witness has a record again") {
            try self.onWitness("\(LabHost.programPath) witness list || true").contains("paired), promised")
        }
        try waitUntilWhole(primary: "a")
    }

    /// On both hosts, in both forms, and nothing could be failed over now.
    func saysOfTheWitness(_ code: String, _ words: String..., at place: SourceLocation = #_sourceLocation) throws {
        for host in lab.hosts {
            try wait("\(host.name) says `\(code)` of the witness") {
                let status = try self.status(host)
                return status.arbiter.problem?.code == code && status.arbiter.reachable == false
                    && status.failover_ready.reasons?.map(\.code) == ["witnessSilent"]
            }
            let text = try host.demand([Self.binaryInside, "status"], deadline: .seconds(10))
            for word in words + ["(not reachable)", "[\(code)]"] {
                #expect(text.contains(word), "\(host.name) does not say `\(word)`: \(text)", sourceLocation: place)
            }
        }
    }

    /// After a person's `forget` the record is written anew, and counts: the primary's host is lost, and the other one takes over.
    func forgetsAndFailsOver(from primary: LabHost) throws {
        try onWitness("\(Self.binaryInside) witness forget orders")
        try waitUntilWhole(primary: primary.name)
        for host in lab.hosts {
            try wait("\(host.name) complains no more") { try self.status(host).arbiter.problem == nil }
        }
        let began = SystemClock.now()
        try primary.powerOff()
        try waitUntilAlone(other(primary))
        try letClientsWrite(50)
        try wereOut(since: began)
        try primary.boot()
        try waitUntilWhole(primary: other(primary).name)
    }

    /// One node of another pair with the same names, on the witness's machine, which gets an address more for it: it runs alone, and is to use
    /// the same witness.
    func secondPair() throws -> LabProcess {
        var files: [String: HostFile] = [:]
        for name in ["ca.crt", "node.crt", "node.key"] {
            let path = "\(LabConfiguration.tlsDirectory)/\(name)"
            guard let bytes = try DurableFile.read(a.diskPath(of: path)) else { throw Told("there is no \(path)") }
            files[path] = HostFile(bytes, mode: name == "node.key" ? 0o600 : 0o644, owner: "postgres")
        }
        let addresses = [
            (Lab.primaryAddress, "10.77.0.110"), (Lab.standbyAddress, "10.77.0.111"), (a.address + "]", "10.77.0.15]"),
            (b.address + "]", "10.77.0.14]"),
        ]
        let yaml = addresses.reduce(script.configuration.yaml(node: a, hosts: lab.hosts)) { yaml, pair in
            yaml.replacingOccurrences(of: pair.0, with: pair.1)
        }
        files[LabConfiguration.path] = HostFile(yaml)
        try w.configure(files: files)
        try w.demand(["ip", "address", "add", "10.77.0.15/24", "dev", "eth0"])
        try w.demand(["install", "-d", "-o", "postgres", "-g", "postgres", "/var/lib/postgresql/\(LabPostgres.version)"])
        try w.demand([Self.binaryInside, "init"], deadline: .seconds(60))
        return try w.spawn([Self.binaryInside, "run"], outputPath: "\(lab.folder)/second-pair.log")
    }
}
