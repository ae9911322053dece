import Logging
import Synchronization
import TandemConfiguration
import TandemCore
import TandemNetwork
import TandemRuntime
import TandemSystem

/// The agents' link, or the one to the witness. Made before the parts that it serves, so it is given them by `open`.
final class LinkAdapter: LinkPort {
    private let link = Mutex<PeerLink?>(nil)
    private let log: Logger
    /// `the other host`, `the witness`.
    private let other: String

    init(to other: String, log: Logger) {
        self.other = other
        self.log = log
    }

    /// What is sent while no path is up is lost; the next heartbeat says it again.
    func send(_ kind: UInt8, _ payload: [UInt8]) {
        send(kind, payload, on: .all)
    }

    func sendInTurn(_ kind: UInt8, _ payload: [UInt8]) { send(kind, payload, on: .inTurn) }

    func sendOnce(_ kind: UInt8, _ payload: [UInt8]) { send(kind, payload, on: .any) }

    private func send(_ kind: UInt8, _ payload: [UInt8], on target: LinkTarget) {
        do {
            _ = try link.withLock { $0 }?.send(kind: kind, payload: payload, on: target)
        } catch {
            log.warning("a message to \(other) could not be sent", metadata: ["reason": "\(error)"])
        }
    }

    /// - Parameter threads: both links of an agent take turns on one: at each beat both have something to send, and both are answered.
    func open(_ configuration: Configuration, identity: TLSIdentity, desk: PeerDesk, on threads: LinkThreads) throws {
        let settings = LinkConfiguration(
            identity: identity, peer: configuration.peer.name.text,
            listen: configuration.thisNode.addresses.map(\.description), port: configuration.agentPort,
            peerAddresses: configuration.peer.addresses.map { LinkAddress(host: $0.description, port: configuration.agentPort) })
        var callbacks = LinkCallbacks(
            helloPayload: { desk.hello() },
            onHello: { _, payload in Self.verdict(desk.judge(payload)) },
            onFrame: { [self] path, kind, payload in
                desk.receive(kind, payload) { [self] kind, payload in
                    send(kind, payload, on: .path(path))
                }
            })
        callbacks.onPathUp = { [log] path in
            log.info("path to the other host is up", metadata: ["path": "\(path)"])
            desk.pathUp(path.id)
        }
        callbacks.onPathDown = { [log] path, end in
            log.info("path to the other host is down", metadata: ["path": "\(path)", "reason": "\(end)"])
            desk.pathDown(path.id)
        }
        callbacks.onDialFailed = { [log] address, end in
            log.debug("the other host cannot be reached", metadata: ["address": "\(address)", "reason": "\(end)"])
        }
        try start(settings, callbacks, threads)
    }

    func open(
        toWitness witness: Configuration.Arbiter.Witness, identity: TLSIdentity, desk: WitnessDesk, trouble: WitnessTrouble,
        on threads: LinkThreads
    ) throws {
        let place = LinkAddress(host: witness.address.description, port: witness.port)
        let settings = LinkConfiguration(identity: identity, peer: TLSName.witness, listen: [], port: 0, peerAddresses: [place])
        var callbacks = LinkCallbacks(
            helloPayload: { desk.hello() }, onHello: { _, payload in Self.verdict(desk.judge(payload)) },
            onFrame: { _, kind, payload in desk.receive(kind, payload) })
        // One that refuses this node ends the connection, which comes again each second: once is enough to tell.
        callbacks.onPathUp = { [log] path in
            log.log(
                level: trouble.note == nil ? .info : .debug, "the witness is connected", metadata: ["path": "\(path)"])
        }
        callbacks.onPathDown = { [log] path, end in
            log.log(
                level: trouble.note == nil ? .info : .debug, "the connection to the witness ended",
                metadata: ["path": "\(path)", "reason": "\(end)"])
        }
        callbacks.onDialFailed = { [log] address, end in
            let note = Self.note(of: end, at: address)
            guard trouble.notReached(note) else { return }
            log.warning("the witness cannot be reached", metadata: ["reason": "\(note.text)", "code": "\(note.code)"])
        }
        try start(settings, callbacks, threads)
    }

    /// What keeps a connection to the witness from coming up, and what to do.
    private static func note(of end: LinkEnd, at address: LinkAddress) -> RefusalNote {
        switch end {
        case .certificateRefused, .refusedByPeer, .handshakeFailed, .notTLS:
            RefusalNote(
                code: "certificate",
                text:
                    "what answers at \(address) is not this cluster's witness, or has other certificates: \(end). Correct `arbiter.witness`, or copy the "
                    + "folder `witness` of the same `pgtandem tls create` to it")
        case .helloRefused(let why):
            RefusalNote(code: "otherWitness", text: "the witness at \(address) is refused: \(why)")
        default:
            RefusalNote(
                code: "unreachable",
                text:
                    "no connection to the witness at \(address): \(end). Start it there, and look at address, port and firewall")
        }
    }

    private func start(_ wanted: LinkConfiguration, _ told: LinkCallbacks, _ threads: LinkThreads) throws {
        var settings = wanted
        var callbacks = told
        // Heartbeats keep a lease: a busy host must not hold them up (3.1).
        settings.onLoopStart = { _ = RealTime.raise() }
        let log = self.log
        callbacks.onRefused = { address, reason in
            log.warning("a connection was refused", metadata: ["address": "\(address)", "reason": "\(reason)"])
        }
        callbacks.onListener = { address, reason in
            if let reason { log.warning("cannot listen", metadata: ["address": "\(address)", "reason": "\(reason)"]) }
        }
        callbacks.onWarning = { log.warning("certificate", metadata: ["reason": "\($0)"]) }
        let peerLink = PeerLink(settings, callbacks: callbacks, on: threads)
        link.withLock { $0 = peerLink }
        try peerLink.start()
    }

    private static func verdict(_ judgement: PeerDesk.Judgement) -> HelloVerdict {
        switch judgement {
        case .peer: .peer
        case .client: .client
        case .refuse(let reason): .refuse(reason)
        }
    }

    /// For connections that come up from now on.
    func replace(identity: TLSIdentity) { link.withLock { $0 }?.replace(identity: identity) }

    func close() { link.withLock { $0 }?.stop() }
}
