import CLinux
import Glibc
import Synchronization
import TandemSystem

/// Watches who has the virtual addresses: it listens at every port of the switch, and asks for each address 20 times a
/// second from a place of its own on the network (never the client's: answers would keep the client's neighbour table
/// fresh, and hide that a takeover was not announced).
public final class Sniffer: Sendable {
    /// Time between two questions about an address.
    public static let period: Duration = .milliseconds(50)

    private struct State {
        var sightings: [Sighting] = []
        var running = true
        var lost: LabError?
    }

    private let state = Mutex(State())
    private let ended: Bell

    init(_ addresses: [String], lab: Lab) throws(LabError) {
        let known = addresses.compactMap { NeighbourFrames.normal($0) }
        let questions = addresses.compactMap { NeighbourFrames.question(about: $0, from: lab.observer) }
        guard known.count == addresses.count, questions.count == addresses.count else {
            throw LabError(attempted: "watch \(addresses)", happened: "not all of these are addresses")
        }
        ended = try asLabError { () throws(SystemError) in try Bell() }
        let wire = SnifferWire(
            switchSocket: try Sniffer.socket(in: lab.network.namespace),
            observerSocket: try Sniffer.socket(in: lab.observer.namespace), addresses: Set(known), questions: questions,
            observer: lab.observer.hardware(path: 0))
        let (own, bell) = (Weak(self), ended)
        try asLabError { () throws(SystemError) in
            try OwnThread.start("lab-sniffer") {
                var wire = wire
                // Ends too when the sniffer is dropped without stop().
                while own.take(wire.listen()) {}
                bell.ring()
            }
        }
    }

    /// Everything seen so far, in the order of time.
    public func sightings() -> [Sighting] { state.withLock { $0.sightings } }

    /// Who was seen last with each address, for a display: address → hardware address and time.
    /// - Parameter patience: an address that nobody answered for within this time has no owner.
    public func owners(within patience: Duration = .milliseconds(500)) -> [String: (hardware: String, time: Int64)] {
        let oldest = SystemClock.now() - patience.nanoseconds
        return state.withLock { state in
            let recent = state.sightings.partitioningIndex { $0.time >= oldest }
            return state.sightings[recent...].reduce(into: [:]) { $0[$1.address] = ($1.hardware, $1.time) }
        }
    }

    /// - Throws: if the wire could not be watched to the end: what is missing would look like silence.
    @discardableResult
    public func stop() throws(LabError) -> [Sighting] {
        state.withLock { $0.running = false }
        ended.wait(upTo: .seconds(2))
        let (sightings, lost) = state.withLock { ($0.sightings, $0.lost) }
        if let lost { throw lost }
        return sightings
    }

    fileprivate func add(_ result: Result<[Sighting], LabError>) -> Bool {
        state.withLock { state in
            switch result {
            case .success(let seen): state.sightings += seen
            case .failure(let error):
                state.lost = state.lost ?? error
                state.running = false
            }
            return state.running
        }
    }

    private static func socket(in namespace: NetworkNamespace) throws(LabError) -> Descriptor {
        try namespace.inside { () throws(LabError) in
            let number = clab_claims_socket()
            guard number >= 0 else { throw LabError(SystemError.last("open a packet socket")) }
            return Descriptor(number)
        }
    }
}

/// The thread must not keep the sniffer alive.
private final class Weak: Sendable {
    private weak let sniffer: Sniffer?

    init(_ sniffer: Sniffer) { self.sniffer = sniffer }

    func take(_ result: Result<[Sighting], LabError>) -> Bool { sniffer?.add(result) ?? false }
}

/// The two sockets, used by one thread.
private struct SnifferWire: Sendable {
    let switchSocket: Descriptor
    let observerSocket: Descriptor
    let addresses: Set<String>
    let questions: [[UInt8]]
    let observer: String
    private var nextQuestion: Int64 = 0
    private var ports: [Int32: LabPort] = [:]
    private var frame = [UInt8](repeating: 0, count: 2048)

    init(switchSocket: Descriptor, observerSocket: Descriptor, addresses: Set<String>, questions: [[UInt8]], observer: String) {
        self.switchSocket = switchSocket
        self.observerSocket = observerSocket
        self.addresses = addresses
        self.questions = questions
        self.observer = observer
    }

    /// Asks when it is time, waits for frames, takes what came.
    mutating func listen() -> Result<[Sighting], LabError> {
        do throws(LabError) {
            if SystemClock.now() >= nextQuestion { try ask() }
            let left = Duration.nanoseconds(max(0, nextQuestion - SystemClock.now()))
            let ready = Poll.readable([switchSocket.number, observerSocket.number], upTo: left)
            var seen: [Sighting] = []
            if ready[0] { try receive(switchSocket, into: &seen, passive: true) }
            if ready[1] { try receive(observerSocket, into: &seen, passive: false) }
            return .success(seen)
        } catch {
            return .failure(error)
        }
    }

    private mutating func ask() throws(LabError) {
        nextQuestion = max(nextQuestion + Sniffer.period.nanoseconds, SystemClock.now() + Sniffer.period.nanoseconds / 2)
        let index = clab_interface_index(observerSocket.number, "eth0")
        guard index > 0 else { throw LabError(SystemError.last("find the observer's network card")) }
        for question in questions where clab_send_frame(observerSocket.number, index, question, question.count) < 0 {
            // No room just now: the next question is 50 ms away.
            guard errno == EAGAIN || errno == ENOBUFS else { throw LabError(SystemError.last("ask who has an address")) }
        }
    }

    private mutating func receive(_ socket: Descriptor, into seen: inout [Sighting], passive: Bool) throws(LabError) {
        while true {
            var index: Int32 = 0
            let count = clab_receive_frame(socket.number, &frame, frame.count, &index)
            guard count >= 0 else {
                // ENETDOWN: an interface went down; the others go on.
                if errno == EAGAIN || errno == EINTR || errno == ENETDOWN { return }
                throw LabError(SystemError.last("listen on the switch"))
            }
            guard let claim = NeighbourFrames.claim(in: frame.prefix(count)), addresses.contains(claim.address) else { continue }
            let source: Sighting.Source
            if passive {
                // Answers to the observer are taken where they arrive.
                guard destination != observer, let port = port(index, socket) else { continue }
                source = .claimed(port: port)
            } else {
                source = .answered
            }
            seen.append(
                Sighting(time: SystemClock.now(), address: claim.address, hardware: claim.hardware, source: source))
        }
    }

    private var destination: String {
        frame.prefix(6).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: ":")
    }

    /// Nil: the bridge itself, or an interface that is gone already.
    private mutating func port(_ index: Int32, _ socket: Descriptor) -> LabPort? {
        if let known = ports[index] { return known }
        var room = [CChar](repeating: 0, count: 16)
        guard clab_interface_name(socket.number, index, &room) == 0 else { return nil }
        let name = String(decoding: room.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        guard name.hasPrefix("p0") || name.hasPrefix("p1") else { return nil }
        let port = LabPort(String(name.dropFirst(2)))
        ports[index] = port
        return port
    }
}

extension Lab {
    /// Watches from now on. Stop it before the lab.
    public func startSniffer(
        _ addresses: [String] = [Lab.primaryAddress, Lab.standbyAddress]
    ) throws(LabError) -> Sniffer {
        try Sniffer(addresses, lab: self)
    }
}
