import CLinux
import Glibc
import TandemSystem

/// Carries frames between two interfaces, each a fixed time after it came: a long cable. They stay in their order.
///
/// In a thread of its own, until it is stopped or one of the interfaces is gone.
final class LabDelay: Sendable {
    private let stopping: Bell
    private let ended: Bell

    init(between first: String, and second: String, in namespace: NetworkNamespace, _ delay: Duration) throws(LabError) {
        let (stopping, ended) = try asLabError { () throws(SystemError) in (try Bell(), try Bell()) }
        let sockets = try namespace.inside { () throws(LabError) in
            [try LabDelay.wire(first), try LabDelay.wire(second)]
        }
        try asLabError { () throws(SystemError) in
            try OwnThread.start("lab-delay") {
                var cable = LongCable(sockets: sockets, delay: delay.nanoseconds)
                while cable.carry(stopping) {}
                ended.ring()
            }
        }
        (self.stopping, self.ended) = (stopping, ended)
    }

    deinit { stopping.ring() }

    /// Nothing is carried any more when it returns; what was on its way is lost.
    func stop() {
        stopping.ring()
        ended.wait(upTo: .seconds(5))
    }

    private static func wire(_ interface: String) throws(LabError) -> Descriptor {
        let number = clab_wire_socket(interface)
        guard number >= 0 else { throw LabError(SystemError.last("open a packet socket at \(interface)")) }
        return Descriptor(number)
    }
}

private struct LongCable {
    let sockets: [Descriptor]
    let delay: Int64
    /// Frames under way, by when they arrive, which is the order in which they came.
    private var underWay: [(due: Int64, to: Int, frame: [UInt8])] = []
    private var first = 0
    private var bytes = 0
    /// The largest frame before segmentation, with its header.
    private var room = [UInt8](repeating: 0, count: 70_000)

    /// What does not fit is lost, as in any cable.
    private static let limit = 64 << 20

    init(sockets: [Descriptor], delay: Int64) {
        self.sockets = sockets
        self.delay = delay
    }

    /// - Returns: false: it is over.
    mutating func carry(_ stopping: Bell) -> Bool {
        let next = first < underWay.count ? underWay[first].due : nil
        let patience: Duration? = next.map { .nanoseconds(max(0, $0 - SystemClock.now())) }
        let ready = Poll.readable([stopping.number] + sockets.map(\.number), upTo: patience)
        if ready[0] { return false }
        for side in 0...1 where ready[side + 1] {
            guard take(from: side) else { return false }
        }
        deliver()
        return true
    }

    private mutating func take(from side: Int) -> Bool {
        while true {
            let count = recv(sockets[side].number, &room, room.count, 0)
            guard count >= 0 else { return errno == EAGAIN || errno == EINTR || errno == ENETDOWN }
            guard bytes + count <= LongCable.limit else { continue }
            underWay.append((SystemClock.now() + delay, 1 - side, Array(room[..<count])))
            bytes += count
        }
    }

    private mutating func deliver() {
        let now = SystemClock.now()
        while first < underWay.count, underWay[first].due <= now {
            let (_, to, frame) = underWay[first]
            first += 1
            bytes -= frame.count
            // An interface that is down, or a full queue: lost.
            _ = send(sockets[to].number, frame, frame.count, 0)
        }
        if first > 1024 || first == underWay.count {
            underWay.removeFirst(first)
            first = 0
        }
    }
}
