import CLinux
import Glibc
import TandemSystem

/// Packets of one interface below IP (packet(7)), without the Ethernet header. Needs CAP_NET_RAW.
final class PacketSocket: Sendable {
    private let descriptor: Descriptor
    private let index: Int32

    /// A socket that only sends.
    init(index: Int32) throws(SystemError) {
        self.index = index
        // Protocol zero: nothing is received.
        let number = socket(AF_PACKET, cl_sock_dgram | cl_sock_cloexec | cl_sock_nonblock, 0)
        guard number >= 0 else {
            throw SystemError.last(
                "open a packet socket", advice: errno == EPERM ? "Give this program the capability CAP_NET_RAW." : nil)
        }
        descriptor = Descriptor(number)
    }

    /// A socket that hears ARP, or IPv6's neighbour advertisements, on the interface.
    convenience init(index: Int32, hearing etherType: UInt16) throws(SystemError) {
        try self.init(index: index)
        // The filter is there before the first packet can be.
        if etherType == NeighbourDiscovery.etherType { try passOnlyAdvertisements() }
        var address = PacketSocket.address(index, etherType)
        let bound = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(number, $0, socklen_t(MemoryLayout<sockaddr_ll>.size))
            }
        }
        guard bound == 0 else { throw SystemError.last("listen on the interface \(index)") }
    }

    var number: Int32 { descriptor.number }

    func send(_ packet: [UInt8], _ etherType: UInt16, to destination: EthernetDestination) throws(SystemError) {
        var address = PacketSocket.address(index, etherType)
        address.sll_halen = 6
        withUnsafeMutableBytes(of: &address.sll_addr) { $0.copyBytes(from: destination.bytes.prefix(6)) }
        let sent = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                sendto(number, packet, packet.count, 0, $0, socklen_t(MemoryLayout<sockaddr_ll>.size))
            }
        }
        guard sent == packet.count else {
            throw SystemError.last(
                "send to the segment of interface \(index)",
                advice: errno == ENETDOWN ? "Look why the interface is down." : nil)
        }
    }

    /// The next packet; nil: none just now.
    /// - Throws: ENETDOWN when the interface went down or away.
    func receive() throws(SystemError) -> [UInt8]? {
        var buffer = [UInt8](repeating: 0, count: 2048)
        let count = recv(number, &buffer, buffer.count, 0)
        guard count >= 0 else {
            if errno == EAGAIN || errno == EINTR { return nil }
            throw SystemError.last("hear the segment of interface \(index)")
        }
        return Array(buffer[..<count])
    }

    /// A classic BPF program: on a busy server every other IPv6 packet would wake us.
    private func passOnlyAdvertisements() throws(SystemError) {
        let loadByte = UInt16(BPF_LD | BPF_B | BPF_ABS)
        let jumpIfEqual = UInt16(BPF_JMP | BPF_JEQ | BPF_K)
        let end = UInt16(BPF_RET | BPF_K)
        var program = [
            sock_filter(code: loadByte, jt: 0, jf: 0, k: 6),  // next header
            sock_filter(code: jumpIfEqual, jt: 0, jf: 3, k: UInt32(NeighbourDiscovery.icmp6)),
            sock_filter(code: loadByte, jt: 0, jf: 0, k: 40),  // ICMPv6 type
            sock_filter(code: jumpIfEqual, jt: 0, jf: 1, k: UInt32(NeighbourDiscovery.advertisement)),
            sock_filter(code: end, jt: 0, jf: 0, k: 2048),
            sock_filter(code: end, jt: 0, jf: 0, k: 0),
        ]
        let code = program.withUnsafeMutableBufferPointer { buffer in
            var order = sock_fprog(len: UInt16(buffer.count), filter: buffer.baseAddress)
            return setsockopt(number, SOL_SOCKET, SO_ATTACH_FILTER, &order, socklen_t(MemoryLayout<sock_fprog>.size))
        }
        guard code == 0 else { throw SystemError.last("filter a packet socket") }
    }

    private static func address(_ index: Int32, _ etherType: UInt16) -> sockaddr_ll {
        var address = sockaddr_ll()
        address.sll_family = UInt16(AF_PACKET)
        address.sll_protocol = etherType.bigEndian
        address.sll_ifindex = index
        return address
    }
}
