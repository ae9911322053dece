import Logging
import Synchronization
import TandemConfiguration
import TandemNetwork
import TandemRuntime
import TandemSystem

/// The agents' link. Made before the parts that it serves, so it is given them by `open`.
final class LinkAdapter: LinkPort {
    private let link = Mutex<PeerLink?>(nil)
    private let log: Logger

    init(log: Logger) { self.log = log }

    /// What is sent while no path is up is lost; the next heartbeat says it again.
    func send(_ kind: UInt8, _ payload: [UInt8]) {
        send(kind, payload, on: .all)
    }

    private func send(_ kind: UInt8, _ payload: [UInt8], on target: LinkTarget) {
        do {
            _ = try link.withLock { $0 }?.send(kind: kind, payload: payload, on: target)
        } catch {
            log.warning("a message to the other host could not be sent", metadata: ["reason": "\(error)"])
        }
    }

    func open(_ configuration: Configuration, identity: TLSIdentity, desk: PeerDesk) throws {
        let settings = LinkConfiguration(
            identity: identity, peer: configuration.peer.name.text,
            listen: configuration.thisNode.addresses.map(\.description), port: configuration.agentPort,
            peerAddresses: configuration.peer.addresses.map { LinkAddress(host: $0.description, port: configuration.agentPort) })
        let log = self.log
        var callbacks = LinkCallbacks(
            helloPayload: { desk.hello() },
            onHello: { _, payload in
                switch desk.judge(payload) {
                case .peer: .peer
                case .client: .client
                case .refuse(let reason): .refuse(reason)
                }
            },
            onFrame: { [self] path, kind, payload in
                desk.receive(kind, payload) { [self] kind, payload in
                    send(kind, payload, on: .path(path))
                }
            })
        callbacks.onPathUp = { path in
            log.info("path to the other host is up", metadata: ["path": "\(path)"])
            desk.pathUp(path.id)
        }
        callbacks.onPathDown = { path, end in
            log.info("path to the other host is down", metadata: ["path": "\(path)", "reason": "\(end)"])
            desk.pathDown(path.id)
        }
        callbacks.onRefused = { address, reason in
            log.warning("a connection was refused", metadata: ["address": "\(address)", "reason": "\(reason)"])
        }
        callbacks.onDialFailed = { address, reason in
            log.debug("the other host cannot be reached", metadata: ["address": "\(address)", "reason": "\(reason)"])
        }
        callbacks.onListener = { address, reason in
            if let reason { log.warning("cannot listen", metadata: ["address": "\(address)", "reason": "\(reason)"]) }
        }
        callbacks.onWarning = { log.warning("certificate", metadata: ["reason": "\($0)"]) }
        let peerLink = PeerLink(settings, callbacks: callbacks)
        link.withLock { $0 = peerLink }
        try peerLink.start()
    }

    func close() { link.withLock { $0 }?.stop() }
}
