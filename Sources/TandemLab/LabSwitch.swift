import Glibc
import Synchronization
import TandemSystem

/// A plug of the switch: who is connected there.
public struct LabPort: Sendable, Hashable, ExpressibleByStringLiteral, CustomStringConvertible {
    /// A host's name, or one of the fixed ones.
    public let name: String

    public init(_ name: String) { self.name = name }
    public init(stringLiteral value: String) { name = value }

    public static let witness = LabPort("w")
    public static let gateway = LabPort("gateway")
    public static let client = LabPort("client")
    /// Where the sniffer asks from, so that its questions do not keep the client's neighbour table fresh.
    public static let observer = LabPort("observer")

    public var description: String { name }

    /// The interface at the switch's end; the kernel allows 15 bytes.
    func interface(path: Int) -> String { "p\(path)\(name.prefix(12))" }

    /// With a delay, the cable ends in a process, and these two lead on from there to the bridge.
    func delayed(path: Int) -> (wire: String, bridge: String) { ("d\(path)\(name.prefix(12))", "e\(path)\(name.prefix(12))") }
}

/// What is plugged in: fixed for one machine, as a network card is.
struct LabPlug: Sendable {
    let port: LabPort
    let namespace: NetworkNamespace
    /// The last byte of the address, and of the hardware address.
    let number: UInt8
    /// How many networks it is in.
    let paths: Int

    func hardware(path: Int) -> String {
        "02:77:00:00:0\(path):" + (number < 16 ? "0" : "") + String(number, radix: 16)
    }

    func address(path: Int) -> String { "10.77.\(path).\(number)" }

    /// fd77::11 for 10.77.0.11: the same digits, read as hexadecimal.
    func address6(path: Int) -> String { path == 0 ? "fd77::\(number)" : "fd77:0:0:\(path)::\(number)" }
}

/// Bridges in a namespace of their own, one for each network, with the cuts in an nftables table (family bridge).
final class LabSwitch: Sendable {
    let namespace: NetworkNamespace
    private let paths: Int
    private let cuts = Mutex<Set<Cut>>([])
    /// In percent.
    private let losses = Mutex<[Cut: String]>([:])
    private let delays = Mutex<[LabPort: [LabDelay]]>([:])

    private struct Cut: Hashable {
        var from: LabPort
        var to: LabPort
        var tcpPort: UInt16?
    }

    init(namespace: NetworkNamespace, paths: Int) {
        self.namespace = namespace
        self.paths = paths
    }

    /// - Throws: with the package to install where nft is missing, or if the kernel has no bridge family.
    func start() throws(LabError) {
        try namespace.create(ipv6: false)
        var lines: [String] = []
        for path in 0..<paths {
            // No spanning tree: a port forwards at once. No snooping: neighbour messages are multicast.
            lines.append("link add br\(path) type bridge stp_state 0 forward_delay 0 mcast_snooping 0")
            lines.append("link set br\(path) up")
        }
        try namespace.ip(lines)
        try nft(
            """
            table bridge lab {
              set cut {
                typeof meta iifname . meta oifname
              }
              set cut_service {
                typeof meta iifname . meta oifname . tcp dport
              }
              counter cut {
              }
              counter loss {
              }
              chain losses {
              }
              chain forwarding {
                type filter hook forward priority 0; policy accept;
                iifname . oifname @cut counter name "cut" drop
                iifname . oifname . tcp dport @cut_service counter name "cut" drop
                iifname . oifname . tcp sport @cut_service counter name "cut" drop
                jump losses
              }
            }

            """, advice: "Use a kernel with nftables' bridge family (nf_tables, nf_tables_bridge).")
    }

    /// Lays the cable: a pair of interfaces, one here on the bridge, one as eth0 (and eth1) inside, with addresses.
    func plug(_ plug: LabPlug) throws(LabError) {
        for path in 0..<plug.paths {
            let here = plug.port.interface(path: path)
            try namespace.ip([
                "link add \(here) type veth peer name eth\(path) address \(plug.hardware(path: path)) netns \(plug.namespace.name)",
                "link set \(here) master br\(path)",
                "link set \(here) up",
            ])
            try plug.namespace.ip([
                "addr add \(plug.address(path: path))/24 dev eth\(path)",
                "addr add \(plug.address6(path: path))/64 dev eth\(path) nodad",
                "link set eth\(path) up",
            ])
        }
    }

    /// Whatever goes to that plug and comes from it is on its way for that long; zero ends it. Not while there are cuts or losses, which name
    /// the interfaces that are on the bridge. A power-off ends it, too.
    func setDelay(_ plug: LabPlug, _ delay: Duration) throws(LabError) {
        let attempted = "delay what reaches \(plug.port)"
        guard cuts.withLock(\.isEmpty), losses.withLock(\.isEmpty) else {
            throw LabError(attempted: attempted, happened: "there are cuts or losses", advice: "Heal them first.")
        }
        try endDelay(plug)
        guard delay > .zero else { return }
        var made: [LabDelay] = []
        do throws(LabError) {
            for path in 0..<plug.paths {
                let here = plug.port.interface(path: path)
                let (wire, bridge) = plug.port.delayed(path: path)
                try namespace.ip([
                    "link add \(wire) type veth peer name \(bridge)", "link set \(wire) up",
                    "link set \(here) nomaster", "link set \(bridge) master br\(path)", "link set \(bridge) up",
                ])
                made.append(try LabDelay(between: here, and: wire, in: namespace, delay))
            }
        } catch {
            for one in made { one.stop() }
            do throws(LabError) { try plugDirectly(plug) } catch {
                // Why there is no delay says more, and is thrown.
            }
            throw error
        }
        delays.withLock { $0[plug.port] = made }
    }

    private func endDelay(_ plug: LabPlug) throws(LabError) {
        guard let made = delays.withLock({ $0.removeValue(forKey: plug.port) }) else { return }
        for one in made { one.stop() }
        try plugDirectly(plug)
    }

    /// Takes away what stands between the cable and the bridge.
    private func plugDirectly(_ plug: LabPlug) throws(LabError) {
        for path in 0..<plug.paths {
            let here = plug.port.interface(path: path)
            let wire = plug.port.delayed(path: path).wire
            if try exists(wire) { try namespace.ip(["link delete \(wire)"]) }
            if try exists(here) { try namespace.ip(["link set \(here) master br\(path)"]) }
        }
    }

    /// What stands on the bridge for the port.
    private func bridged(_ port: LabPort, path: Int) -> String {
        delays.withLock { $0[port] == nil } ? port.interface(path: path) : port.delayed(path: path).bridge
    }

    /// Takes the cable away: both ends vanish at once, with every address that was on the machine's end.
    func unplug(_ plug: LabPlug) throws(LabError) {
        try endDelay(plug)
        for path in 0..<plug.paths {
            let here = plug.port.interface(path: path)
            guard try exists(here) else { continue }
            try namespace.ip(["link delete \(here)"])
        }
    }

    /// The switch's end of the cable: the machine behind it loses carrier.
    func setPort(_ plug: LabPlug, down: Bool) throws(LabError) {
        for path in 0..<plug.paths {
            let here = plug.port.interface(path: path)
            guard try exists(here) else { continue }
            try namespace.ip(["link set \(here) \(down ? "down" : "up")"])
        }
    }

    /// Drops what goes from one port to the other, silently and one way; carrier stays. Again is fine.
    func cut(from: LabPort, to: LabPort, tcpPort: UInt16?) throws(LabError) {
        let cut = Cut(from: from, to: to, tcpPort: tcpPort)
        guard cuts.withLock({ $0.insert(cut).inserted }) else { return }
        try element("add", cut)
    }

    func heal(from: LabPort, to: LabPort, tcpPort: UInt16?) throws(LabError) {
        let cut = Cut(from: from, to: to, tcpPort: tcpPort)
        guard cuts.withLock({ $0.remove(cut) != nil }) else { return }
        try element("delete", cut)
    }

    /// One way; in place of an earlier loss there. 0: none.
    func setLoss(percent: Int, from: LabPort, to: LabPort, tcpPort: UInt16?) throws(LabError) {
        // nft knows no "less than 100 of 100".
        let lot = percent < 100 ? "numgen random mod 100 < \(percent) " : ""
        try lose(percent == 0 ? nil : lot, Cut(from: from, to: to, tcpPort: tcpPort))
    }

    /// What comes faster is dropped, which TCP takes for a slow link. One way; in place of an earlier loss there.
    func setRate(kilobytes: Int, from: LabPort, to: LabPort, tcpPort: UInt16?) throws(LabError) {
        try lose(
            "limit rate over \(kilobytes) kbytes/second burst \(max(64, kilobytes / 20)) kbytes ",
            Cut(from: from, to: to, tcpPort: tcpPort))
    }

    /// - Parameter condition: which frames; nil: none any more.
    private func lose(_ condition: String?, _ way: Cut) throws(LabError) {
        // One transaction at a time: each writes all of them.
        try losses.withLock { (losses: inout [Cut: String]) throws(LabError) in
            losses[way] = condition
            let rules = losses.flatMap { way, condition in
                (0..<paths).flatMap { path in
                    let pair =
                        "iifname \"\(bridged(way.from, path: path))\" oifname \"\(bridged(way.to, path: path))\""
                    let services = way.tcpPort.map { ["tcp dport \($0)", "tcp sport \($0)"] } ?? [""]
                    return services.map { "\(pair) \($0) \(condition)counter name \"loss\" drop" }
                }
            }
            let lines =
                ["flush chain bridge lab losses"]
                + rules.sorted().map { "add rule bridge lab losses \($0)" }
            try nft(lines.joined(separator: "\n") + "\n")
        }
    }

    func healAll() throws(LabError) {
        cuts.withLock { $0.removeAll() }
        losses.withLock { $0.removeAll() }
        try nft(
            "flush set bridge lab cut\nflush set bridge lab cut_service\nflush chain bridge lab losses\n")
    }

    /// How many frames have been dropped so far by cuts (`cut`) or losses (`loss`): proof that one was really hit.
    func frames(droppedBy counter: String) throws(LabError) -> Int {
        let listing = try runNft(["list", "counter", "bridge", "lab", counter], input: "")
        let words = listing.split(whereSeparator: \.isWhitespace)
        let found = zip(words, words.dropFirst()).first { $0.0 == "packets" }
        guard let count = found.flatMap({ Int($0.1) }) else {
            throw LabError(attempted: "count dropped frames", happened: "nft answered \(listing)")
        }
        return count
    }

    private func element(_ verb: String, _ cut: Cut) throws(LabError) {
        let elements = (0..<paths).map { path in
            let pair = "\"\(bridged(cut.from, path: path))\" . \"\(bridged(cut.to, path: path))\""
            return cut.tcpPort.map { "\(pair) . \($0)" } ?? pair
        }
        let set = cut.tcpPort == nil ? "cut" : "cut_service"
        try nft("\(verb) element bridge lab \(set) { \(elements.joined(separator: ", ")) }\n")
    }

    private func nft(_ commands: String, advice: String? = nil) throws(LabError) {
        do throws(LabError) {
            try runNft(["-f", "-"], input: commands)
        } catch {
            throw LabError(attempted: error.attempted, happened: error.happened, advice: error.advice ?? advice)
        }
    }

    @discardableResult
    private func runNft(_ arguments: [String], input: String) throws(LabError) -> String {
        let nft = try Command.path("nft", package: "nftables")
        let nsenter = try Command.path("nsenter", package: "util-linux")
        return try Command.run(nsenter, ["--net=\(namespace.path)", nft] + arguments, input: input)
    }

    private func exists(_ interface: String) throws(LabError) -> Bool {
        try namespace.inside { interfaceExists(interface) }
    }
}

private func interfaceExists(_ name: String) -> Bool { if_nametoindex(name) != 0 }
