import CLinux

/// A netlink message being built: header, the fixed part, attributes (rtnetlink(7)).
struct NetlinkMessage {
    private(set) var bytes: [UInt8]

    init(type: UInt16, flags: Int32, sequence: UInt32) {
        bytes = []
        let header = nlmsghdr(
            nlmsg_len: 0, nlmsg_type: type, nlmsg_flags: UInt16(truncatingIfNeeded: flags), nlmsg_seq: sequence,
            nlmsg_pid: 0)
        append(header)
    }

    mutating func append<Value: BitwiseCopyable>(_ value: Value) {
        withUnsafeBytes(of: value) { bytes.append(contentsOf: $0) }
        finish()
    }

    mutating func attribute(_ kind: Int, _ content: [UInt8]) {
        let header = rtattr(rta_len: UInt16(truncatingIfNeeded: 4 + content.count), rta_type: UInt16(truncatingIfNeeded: kind))
        withUnsafeBytes(of: header) { bytes.append(contentsOf: $0) }
        bytes.append(contentsOf: content)
        finish()
    }

    mutating func attribute<Value: BitwiseCopyable>(_ kind: Int, value: Value) {
        attribute(kind, withUnsafeBytes(of: value) { Array($0) })
    }

    /// Pads to four bytes and writes the length into the header.
    private mutating func finish() {
        while bytes.count % 4 != 0 { bytes.append(0) }
        withUnsafeBytes(of: UInt32(truncatingIfNeeded: bytes.count)) { bytes.replaceSubrange(0..<4, with: $0) }
    }
}

/// A received message.
struct NetlinkReply {
    var header: nlmsghdr
    /// What follows the header.
    var payload: ArraySlice<UInt8>

    var type: Int { Int(header.nlmsg_type) }

    /// The fixed part at the start of the payload; nil if the message is too short for it.
    func fixed<Value: BitwiseCopyable>(as type: Value.Type) -> Value? { payload.load(as: type) }

    /// The attributes after a fixed part of that length.
    func attributes(after length: Int) -> [Int: ArraySlice<UInt8>] {
        var found: [Int: ArraySlice<UInt8>] = [:]
        var rest = payload.dropFirst((length + 3) & ~3)
        while let header = rest.load(as: rtattr.self) {
            let length = Int(header.rta_len)
            guard length >= 4, length <= rest.count else { break }
            // The two highest bits are marks (nested, byte order).
            found[Int(header.rta_type & 0x3fff)] = rest.dropFirst(4).prefix(length - 4)
            rest = rest.dropFirst((length + 3) & ~3)
        }
        return found
    }

    /// Cuts what the kernel sent into messages; what is broken ends the list.
    static func parse(_ bytes: ArraySlice<UInt8>) -> [NetlinkReply] {
        var found: [NetlinkReply] = []
        var rest = bytes
        while let header = rest.load(as: nlmsghdr.self) {
            let length = Int(header.nlmsg_len)
            guard length >= 16, length <= rest.count else { break }
            found.append(NetlinkReply(header: header, payload: rest.dropFirst(16).prefix(length - 16)))
            rest = rest.dropFirst((length + 3) & ~3)
        }
        return found
    }
}

extension ArraySlice<UInt8> {
    /// A value from the first bytes, whatever their alignment; nil if there are too few.
    func load<Value: BitwiseCopyable>(as type: Value.Type) -> Value? {
        guard count >= MemoryLayout<Value>.size else { return nil }
        return withUnsafeBytes { $0.loadUnaligned(as: type) }
    }
}
