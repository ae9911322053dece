import Glibc
import Logging
import Synchronization
import TandemConfiguration
import TandemCore
import TandemLinux
import TandemNetwork
import TandemPostgres
import TandemRuntime
import TandemSystem
import TandemWire

/// The composition root of the agent: every port gets its adapter here, and nowhere else.
struct AgentAssembly {
    private let configuration: Configuration
    private let log: Logger

    init(_ configuration: Configuration, _ log: Logger) {
        self.configuration = configuration
        self.log = log
    }

    func run() throws {
        // Signals come to one thread that waits for them; blocked before any other thread exists.
        var signals = sigset_t()
        sigemptyset(&signals)
        for number in [SIGTERM, SIGINT, SIGHUP] { sigaddset(&signals, number) }
        pthread_sigmask(SIG_BLOCK, &signals, nil)

        let identity = try TLSIdentity.load(
            directory: configuration.tls.directory, cluster: configuration.cluster, node: configuration.node.text)
        for warning in identity.warnings { log.warning("certificate", metadata: ["reason": "\(warning)"]) }
        let ledgerFile = LedgerFile(stateDirectory: configuration.stateDirectory)
        let found = try ledgerFile.read()
        if let ledger = found?.ledger, ledger.cluster != configuration.cluster {
            throw CommandFailure.failed(
                "the ledger \(ledgerFile.path) belongs to the cluster `\(ledger.cluster)`, the configuration says `\(configuration.cluster)`: "
                    + "put `cluster:` right; nothing was touched")
        }
        let boot = BootID(try SystemClock.bootID())
        let session = SessionID(Random.word() >> 1 | 1)
        log.info(
            "agent starts",
            metadata: [
                "version": "\(Version.text)", "session": "\(session)",
                "ledger": "\(found.map { $0.ledger.description } ?? "none")",
            ])

        let agent = try Agent(policy: configuration.policy, log: log)
        let addresses = try AddressAdapter(configuration, log: log)
        let historyFile = HistoryFile(stateDirectory: configuration.stateDirectory, log: log)
        let own = configuration.node
        let postgres = try PostgresAdapter(
            configuration, history: historyFile, log: log,
            heartbeatWriter: {
                agent.present.node.heartbeatRowTerm(at: Instant(nanoseconds: SystemClock.now())).map {
                    .init(node: own, term: $0)
                }
            },
            onObservation: { agent.post(.postgres($0)) }, onStorage: { agent.post(.storage($0)) })
        let link = LinkAdapter(to: "the other host", log: log)
        let witness = LinkAdapter(to: "the witness", log: log)
        let trouble = WitnessTrouble()
        let guardian = try GuardAdapter(configuration, log: log) { agent.post(.guardEnded) }
        let tail = try TailTransfer(postgres: postgres, link: link)
        let journal = try Journal(folder: configuration.stateDirectory + "/journal", program: Version.text, log: log)
        let configuration = self.configuration
        let desk = PeerDesk(
            agent: agent, tail: tail, join: JoinAdapter(configuration, postgres), history: historyFile,
            own: hello(session, boot), peer: configuration.peer.name, log: log
        ) { theirs in Configuration.differingKeys(configuration.clusterWideValues(), theirs) }
        let priority = Priority()

        let control = try ControlServer(path: configuration.controlSocket, agent: agent, log: log) {
            let view = agent.present
            return StatusDocument(
                view.node, at: Instant(nanoseconds: SystemClock.now()),
                addresses: [
                    .primary: configuration.virtualAddresses.primary.map(\.address.description),
                    .standby: configuration.virtualAddresses.standby.map(\.address.description),
                ], guardian: guardian.status(view.node), rejoin: postgres.rejoinProgress,
                witnessTrouble: trouble.note, shell: priority.notes(view.node) + guardian.notes(view.node),
                version: Version.text)
        }
        let tellAddresses: @Sendable () -> Void = { [log] in
            do { try addresses.tellHeld { agent.post(.addresses($0)) } } catch {
                log.warning("the addresses could not be listed", metadata: ["reason": "\(error)"])
            }
        }
        let watch = try AddressWatch(interface: configuration.virtualAddresses.interface, onChange: tellAddresses)
        defer { watch.stop() }
        tellAddresses()
        do { try postgres.endLeftovers() } catch {
            log.warning("what an interrupted rejoin has left could not be ended", metadata: ["reason": "\(error)"])
        }
        try postgres.startWatching()
        let threads = LinkThreads(count: 1)
        try link.open(configuration, identity: identity, desk: desk, on: threads)
        if let place = configuration.arbiter.witness {
            let desk = WitnessDesk(agent: agent, trouble: trouble, log: log) { [self] in
                var own = hello(session, boot)
                own.system_identifier = postgres.systemIdentifier
                return own
            }
            try witness.open(toWitness: place, identity: identity, desk: desk, trouble: trouble, on: threads)
        }
        let gateway = try GatewayAdapter(configuration, log: log) { agent.post(.gateway(isSeen: $0)) }
        let windows = try WindowClock(configuration) { agent.post(.windows($0)) }
        try control.start()
        try waitForSignals(signals, agent) { [self] in
            guard let identity = readCertificates(insteadOf: identity) else { return }
            link.replace(identity: identity)
            witness.replace(identity: identity)
        }

        // This thread sends the heartbeats from now on; threads and programs that it starts do not inherit the priority.
        if configuration.arbiter.kind.lends || found?.ledger.arbiter.lends == true { priority.take(log) }
        agent.run(
            .init(
                session: session, boot: boot, ledger: found?.ledger, notes: found?.notes ?? Notes(),
                guardUntil: guardian.heldDeadline, windows: WindowClock.now(configuration)),
            .init(
                postgres: postgres, addresses: addresses, ledger: ledgerFile, link: link, witness: witness, guardian: guardian,
                tail: tail, journal: journal, history: HistoryKeeper(historyFile)))
        control.stop()
        gateway?.stop()
        windows?.stop()
        guardian.close()
        witness.close()
        link.close()
        postgres.stopWatching()
        log.info("agent ends")
    }

    private func hello(_ session: SessionID, _ boot: BootID) -> HelloDocument {
        HelloDocument(
            program: Version.text, cluster: configuration.cluster, node: configuration.node.text, session: session.number,
            boot: boot.text,
            digest: configuration.clusterWideDigest(), configuration: configuration.clusterWideValues())
    }

    /// nil: what is there cannot be used; the ones in use stay.
    private func readCertificates(insteadOf old: TLSIdentity) -> TLSIdentity? {
        do {
            let identity = try TLSIdentity.load(
                directory: configuration.tls.directory, cluster: configuration.cluster, node: configuration.node.text)
            // Neither the other host nor the witness would be let in, or let this one in.
            guard identity.authorityFingerprint == old.authorityFingerprint else {
                throw CommandFailure.failed(
                    "\(configuration.tls.directory)/ca.crt is of another authority: make new certificates with `pgtandem tls renew`, which"
                        + " keeps it, or copy this node's folder of it")
            }
            log.info("SIGHUP: the certificates were read anew; connections that are up keep theirs")
            for warning in identity.warnings { log.warning("certificate", metadata: ["reason": "\(warning)"]) }
            return identity
        } catch {
            log.error("SIGHUP: the certificates could not be read, the old ones stay in use", metadata: ["reason": "\(error)"])
            return nil
        }
    }

    private func waitForSignals(_ signals: sigset_t, _ agent: Agent, onHangUp: @escaping @Sendable () -> Void) throws {
        try OwnThread.start("signals") { [log] in
            var waited = signals
            while true {
                var number: Int32 = 0
                guard sigwait(&waited, &number) == 0 else { continue }
                switch number {
                case SIGTERM, SIGINT:
                    log.info("told to stop", metadata: ["signal": "\(number)"])
                    agent.post(.stopRequested)
                default:
                    // A disk that hangs must not keep SIGTERM from being heard.
                    do { try OwnThread.start("certificates", onHangUp) } catch {
                        log.error("SIGHUP: the certificates were not read", metadata: ["reason": "\(error)"])
                    }
                }
            }
        }
    }
}

/// Real-time priority and locked memory: heartbeats keep a lease, and a busy host must not hold them up (3.1). Without the right to them
/// the agent runs, and says so.
final class Priority: Sendable {
    private let missing = Mutex<[String]>([])

    /// On the thread that runs the core.
    func take(_ log: Logger) {
        let reasons = [RealTime.lockMemory(onFault: true), RealTime.raise()].compactMap(\.self)
        missing.withLock { $0 = reasons }
        for reason in reasons { log.info("less than real time", metadata: ["reason": "\(reason)"]) }
    }

    func notes(_ node: Node) -> [String] {
        guard node.lentFor != nil || node.policy.arbiter.lends else { return [] }
        return missing.withLock { $0 }.map { "heartbeats may be late on a busy host: \($0)" }
    }
}

extension Configuration {
    /// The part of the configuration that decides.
    var policy: Policy {
        Policy(
            cluster: cluster, node: node, peer: peer.name, mode: replication.mode == .synchronous ? .synchronous : .asynchronous,
            arbiter: arbiter.kind, timing: timing.durations,
            promoteLimit: .init(bytes: UInt64(limits.promote.bytes), age: limits.promote.age),
            handoverBytes: UInt64(limits.handoverBytes), maximumStaleness: limits.maxStaleness,
            returnLimit: .init(bytes: UInt64(limits.returnStandbyAddress.bytes), age: limits.returnStandbyAddress.age),
            hangPatience: postgresql.hangPatience, preferredPrimary: preferredPrimary, barredPrimary: barredPrimary,
            failbackNotice: failback.notice)
    }
}
