import CLinux

/// What the control file says without a program started for it (PostgreSQL's pg_control.h).
enum ControlFile {
    /// The first field, if the file's checksum holds; nil: it is damaged, and nothing in it counts.
    ///
    /// The checksum is a CRC-32C of everything before it. Where it stands differs between versions, so it is looked for at each place where it
    /// could: that other bytes look like it by chance is less likely than one in ten million.
    static func systemIdentifier(_ bytes: [UInt8]) -> UInt64? {
        // PostgreSQL writes all that matters in one sector.
        let end = min(bytes.count, 512)
        guard end > 64 else { return nil }
        return bytes.withUnsafeBytes { raw in
            guard let base = raw.baseAddress else { return nil }
            var crc: UInt32 = .max
            for place in stride(from: 0, to: end - 3, by: 4) {
                if place >= 64, ~crc == raw.loadUnaligned(fromByteOffset: place, as: UInt32.self) {
                    return raw.loadUnaligned(as: UInt64.self)
                }
                crc = cwal_crc32c(crc, base + place, 4)
            }
            return nil
        }
    }
}
