// Faults of the network
extension Lab {
    /// Silently drops what goes from one port to another, one way; carrier stays. Again is fine.
    /// - Parameter tcpPort: only the service on this port (both its requests and its answers in that direction).
    public func cut(from: LabPort, to: LabPort, tcpPort: UInt16? = nil) throws(LabError) {
        try require([from, to])
        try network.cut(from: from, to: to, tcpPort: tcpPort)
    }

    public func heal(from: LabPort, to: LabPort, tcpPort: UInt16? = nil) throws(LabError) {
        try require([from, to])
        try network.heal(from: from, to: to, tcpPort: tcpPort)
    }

    /// Drops that share of what goes from one port to another, one way, each frame by its own lot (a frame may hold several
    /// segments of TCP). In place of an earlier loss on that way; 0: none.
    /// - Parameter tcpPort: as for a cut.
    public func setLoss(percent: Int, from: LabPort, to: LabPort, tcpPort: UInt16? = nil) throws(LabError) {
        try require([from, to])
        guard (0...100).contains(percent) else {
            throw LabError(attempted: "lose frames from \(from) to \(to)", happened: "\(percent) is no share in percent")
        }
        try network.setLoss(percent: percent, from: from, to: to, tcpPort: tcpPort)
    }

    /// A slow link, one way, by dropping what comes faster; in place of an earlier loss on that way. `heal` ends it.
    /// - Parameter tcpPort: as for a cut.
    public func setRate(kilobytesPerSecond: Int, from: LabPort, to: LabPort, tcpPort: UInt16? = nil) throws(LabError) {
        try require([from, to])
        try network.setRate(kilobytes: kilobytesPerSecond, from: from, to: to, tcpPort: tcpPort)
    }

    /// A machine that is far away: whatever it sends and gets is on its way for that long, each way. By a process between its cable and the
    /// switch (the kernel of these machines has no netem); a power-off ends it, and zero. Set it before any cut or loss.
    public func setDelay(_ delay: Duration, of port: LabPort) throws(LabError) {
        try require([port])
        guard let plug = (machines.map(\.plug) + [gateway, client, observer]).first(where: { $0.port == port }) else { return }
        try network.setDelay(plug, delay)
    }

    /// Removes every cut and every loss. Ports that are down stay down, and machines that are far away stay there.
    public func heal() throws(LabError) { try network.healAll() }

    /// Cuts a port off from all others, both ways, with carrier.
    public func isolate(_ port: LabPort) throws(LabError) {
        for other in ports where other != port {
            try cut(from: port, to: other)
            try cut(from: other, to: port)
        }
    }

    /// Between two ports, both ways.
    public func separate(_ first: LabPort, _ second: LabPort) throws(LabError) {
        try cut(from: first, to: second)
        try cut(from: second, to: first)
    }

    /// The clients see nothing of a host any more, while the hosts see each other: both ways, its virtual addresses included.
    public func separateClients(from host: LabPort) throws(LabError) { try separate(.client, host) }

    /// Frames that cuts have dropped: proof that one was hit.
    public func droppedFrames() throws(LabError) -> Int { try network.frames(droppedBy: "cut") }

    /// Frames that losses have dropped.
    public func lostFrames() throws(LabError) -> Int { try network.frames(droppedBy: "loss") }

    /// The gateway's cable.
    public func setGateway(down: Bool) throws(LabError) { try network.setPort(gateway, down: down) }

    /// The client's neighbour table forgets everything.
    public func forgetNeighbours() throws(LabError) { try client.namespace.ip(["neigh flush all"]) }

    /// Who can be cut off.
    public var ports: [LabPort] { machines.map(\.plug.port) + [.gateway, .client, .observer] }

    /// A cut of a port that is not there would be a silent nothing, and its test would prove nothing.
    private func require(_ wanted: [LabPort]) throws(LabError) {
        guard let missing = wanted.first(where: { !ports.contains($0) }) else { return }
        throw LabError(
            attempted: "change what reaches \(missing)", happened: "the lab has no such port",
            advice: "Use one of \(ports.map(\.name).joined(separator: ", ")).")
    }
}
