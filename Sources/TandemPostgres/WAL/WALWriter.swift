import Glibc
import TandemCore
import TandemSystem

/// Writes log that a standby lacks into its `pg_wal`, where its recovery finds it (`protocol.md` 4.4, step 4).
///
/// The standby may run, but must receive no stream meanwhile. Works as the owner of the data directory or as root.
/// Writing the same bytes twice does no harm.
public struct WALWriter: Sendable {
    /// `pg_wal`.
    public let directory: String
    /// Bytes in a segment.
    public let segmentSize: Int

    public init(directory: String, segmentSize: Int = WALFile.usualSegmentSize) {
        self.directory = directory
        self.segmentSize = segmentSize
    }

    /// When it returns, the bytes and the names of their files survive a power failure.
    ///
    /// Behind the bytes, old content stays: a segment that was used again is full of an older part of the log, and so it is
    /// when PostgreSQL's own receiver writes. Recovery cannot take it for new: on later pages their address is another one
    /// (xlp_pageaddr), and on the last page the next record would have to name the beginning of the last new one (xl_prev),
    /// which no record of another place in the log does. Zeroing instead would destroy sound bytes if a piece is sent again
    /// after later ones arrived.
    ///
    /// Segments that were completed this way get no archive status; once this node is primary, its checkpointer archives
    /// them before it removes them.
    /// - Parameter timeline: the one that the standby follows.
    /// - Throws: before anything of a segment is written if it cannot be had in full size (disk full).
    public func write(_ bytes: [UInt8], at start: LSN, timeline: Timeline) throws(WALError) {
        let attempted = "write \(bytes.count) bytes of the log at \(start) into \(directory)"
        guard WALFile.isSegmentSize(segmentSize) else {
            throw WALError(
                attempted: attempted, happened: "\(segmentSize) bytes are no segment size",
                advice: "Give a power of two from 1 MiB to 1 GiB.")
        }
        guard timeline > 0, start.bytes >= UInt64(segmentSize),
            !start.bytes.addingReportingOverflow(UInt64(bytes.count)).overflow
        else {
            throw WALError(attempted: attempted, happened: "no log has this range", advice: "Give a range inside the log.")
        }
        var done = 0
        while done < bytes.count {
            let position = LSN(start.bytes + UInt64(done))
            let offset = Int(position.bytes % UInt64(segmentSize))
            let count = min(bytes.count - done, segmentSize - offset)
            let name = WALFile.name(timeline: timeline, position: position, segmentSize: segmentSize)
            try write(bytes[done..<done + count], at: offset, into: name)
            done += count
        }
    }

    private func write(_ piece: ArraySlice<UInt8>, at offset: Int, into name: String) throws(WALError) {
        let path = "\(directory)/\(name)"
        for _ in 0..<3 {
            let number: UInt64
            if let file = try WALFile.open(path, O_RDWR) {
                try requireFullSize(file, path)
                try put(piece, at: offset, file, path)
                number = try facts(file, path).fileNumber
            } else if let made = try create(path, piece, at: offset) {
                number = made
            } else {
                // The checkpointer made it just now, from a segment that is no longer needed.
                continue
            }
            // From PostgreSQL 16 on, such a segment is renamed over an existing file if that came to be between its look
            // and the rename: then what we wrote is gone, and is written again.
            if let file = try WALFile.open(path, O_RDONLY), try facts(file, path).fileNumber == number { return }
        }
        throw WALError(
            attempted: "write \(path)", happened: "the file was replaced while it was written, three times",
            advice: "Look which program changes the files in \(directory).")
    }

    /// A segment of full size with these bytes and zeros around them; its file number, or nil: another one has the name by now.
    private func create(_ path: String, _ piece: ArraySlice<UInt8>, at offset: Int) throws(WALError) -> UInt64? {
        // PostgreSQL passes over names of this form, and removes leftovers when it starts (RemoveTempXlogFiles).
        let temporary = "\(directory)/xlogtemp.\(getpid())-\(String(Random.word(), radix: 36))"
        let number = Glibc.open(temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard number >= 0 else { throw WALError.last("create \(temporary)", advice: Self.advice(errno, directory)) }
        let file = Descriptor(number)
        // Best effort: a leftover harms nothing, and the error of interest is another one. After the link below the segment
        // has its own name, and this one must go.
        defer { _ = unlink(temporary) }
        try belongToOwner(file, temporary)
        // Space for all of it now, so that PostgreSQL cannot run out of it later inside this segment; reads as zeros.
        while true {
            let code = posix_fallocate(file.number, 0, off_t(segmentSize))
            if code == 0 { break }
            if code == EINTR { continue }
            errno = code
            throw WALError.last("reserve \(segmentSize) bytes for \(path)", advice: Self.advice(code, directory))
        }
        try put(piece, at: offset, file, temporary)
        // link(2) never replaces a file, as rename would.
        guard link(temporary, path) == 0 else {
            if errno == EEXIST { return nil }
            throw WALError.last("name \(path)", advice: Self.advice(errno, directory))
        }
        try syncFolder()
        return try facts(file, path).fileNumber
    }

    private func put(_ piece: ArraySlice<UInt8>, at offset: Int, _ file: Descriptor, _ path: String) throws(WALError) {
        var done = 0
        while done < piece.count {
            let count = piece.withUnsafeBytes { bytes in
                pwrite(file.number, bytes.baseAddress?.advanced(by: done), bytes.count - done, off_t(offset + done))
            }
            if count > 0 {
                done += count
            } else if count == 0 || errno != EINTR {
                throw WALError.last("write \(path)", advice: Self.advice(errno, directory))
            }
        }
        // Not tried again after an error: the kernel may have dropped the pages and would then report success.
        guard fsync(file.number) == 0 else { throw WALError.last("fsync \(path)", advice: Self.advice(errno, directory)) }
    }

    /// A shorter segment (of a file system that was full) is filled up with zeros: PostgreSQL refuses it otherwise.
    private func requireFullSize(_ file: Descriptor, _ path: String) throws(WALError) {
        let size = try facts(file, path).size
        guard size <= segmentSize else {
            throw WALError(
                attempted: "write \(path)", happened: "it has \(size) bytes, and a segment \(segmentSize)",
                advice: "Check the segment size.")
        }
        guard size < segmentSize else { return }
        let code = posix_fallocate(file.number, off_t(size), off_t(segmentSize - size))
        guard code == 0 else {
            errno = code
            throw WALError.last("fill up \(path)", advice: Self.advice(code, directory))
        }
    }

    /// Owner and mode as PostgreSQL would give them: those of the folder (group access: initdb --allow-group-access).
    private func belongToOwner(_ file: Descriptor, _ path: String) throws(WALError) {
        var folder = stat()
        guard stat(directory, &folder) == 0 else { throw WALError.last("look at \(directory)") }
        if folder.st_uid != geteuid() || folder.st_gid != getegid() {
            guard fchown(file.number, folder.st_uid, folder.st_gid) == 0 else {
                throw WALError.last("give \(path) to the owner of its folder", advice: Self.advice(errno, directory))
            }
        }
        guard fchmod(file.number, folder.st_mode & 0o040 | 0o600) == 0 else { throw WALError.last("set the mode of \(path)") }
    }

    private func syncFolder() throws(WALError) {
        guard let folder = try WALFile.open(directory, O_RDONLY | O_DIRECTORY) else {
            throw WALError(
                attempted: "open \(directory)", happened: "it is gone", advice: "Look who removed this folder.")
        }
        guard fsync(folder.number) == 0 else { throw WALError.last("fsync the folder \(directory)") }
    }

    private func facts(_ file: Descriptor, _ path: String) throws(WALError) -> (fileNumber: UInt64, size: Int) {
        var status = stat()
        guard fstat(file.number, &status) == 0 else { throw WALError.last("look at \(path)") }
        return (UInt64(status.st_ino), Int(status.st_size))
    }

    private static func advice(_ code: Int32, _ directory: String) -> String {
        switch code {
        case ENOSPC, EDQUOT: "Free space on the file system of \(directory)."
        case EROFS: "Look why the file system of \(directory) is read-only."
        case EACCES, EPERM: "Run this program as the owner of \(directory) or as root."
        default: "Look at the kernel's log and at the file system of \(directory)."
        }
    }
}
