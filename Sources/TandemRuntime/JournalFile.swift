import Glibc
import TandemSystem

/// The newer of a journal's two files, open for appending. A line reaches the file as a whole or is torn, and a torn one is cut off when
/// the file is opened again. Nothing is fsynced: after a power loss the last seconds may be missing.
struct JournalFile {
    static let current = "current.jsonl"
    static let previous = "previous.jsonl"
    /// What a new file is called until its first lines are in it: a disk that is full costs no older file.
    private static let next = "next.jsonl"

    let folder: String
    private(set) var sizeBytes: Int
    /// What is there is not of our format: it is kept as the older file, and nothing is appended to it.
    private(set) var isForeign = false
    private var file: Descriptor

    /// Opens the newer file, or makes an empty one. The folder is 0700, the files are 0600.
    static func open(_ folder: String) throws(SystemError) -> JournalFile {
        guard mkdir(folder, 0o700) == 0 || errno == EEXIST else { throw SystemError.last("make the folder \(folder)") }
        guard chmod(folder, 0o700) == 0 else { throw SystemError.last("set the mode of \(folder)") }
        return try JournalFile(folder, try file(folder + "/" + current, O_APPEND))
    }

    private init(_ folder: String, _ file: Descriptor) throws(SystemError) {
        self.folder = folder
        self.file = file
        let path = folder + "/" + Self.current
        var status = stat()
        guard fstat(file.number, &status) == 0 else { throw SystemError.last("look at \(path)") }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw SystemError(attempted: "use \(path)", code: EINVAL, advice: "Remove it: it is no file.")
        }
        sizeBytes = Int(status.st_size)
        let beginning = JournalHeader.ownBeginning
        if sizeBytes > 0, try read(beginning.count, at: 0) != beginning {
            isForeign = true
            return
        }
        try cutTornLine()
    }

    /// After an error the file may end in a torn line: open it anew.
    mutating func append(_ lines: [UInt8]) throws(SystemError) {
        try Self.write(lines, to: file, Self.current)
        sizeBytes += lines.count
    }

    /// A new file takes the place of this one, which takes the place of the older one. After an error both are as they were, or the newer
    /// one is missing.
    mutating func begin(with lines: [UInt8]) throws(SystemError) {
        let (newest, newer, older) = (folder + "/" + Self.next, folder + "/" + Self.current, folder + "/" + Self.previous)
        let new = try Self.file(newest, O_APPEND | O_TRUNC)
        try Self.write(lines, to: new, Self.next)
        guard rename(newer, older) == 0 else { throw SystemError.last("rename \(newer) to \(older)") }
        guard rename(newest, newer) == 0 else { throw SystemError.last("rename \(newest) to \(newer)") }
        file = new
        sizeBytes = lines.count
        isForeign = false
    }

    private static func file(_ path: String, _ flags: Int32) throws(SystemError) -> Descriptor {
        // Not blocking: what stands there may be no file.
        let number = Glibc.open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | flags, 0o600)
        guard number >= 0 else { throw SystemError.last("open \(path)") }
        let file = Descriptor(number)
        guard fchmod(number, 0o600) == 0 else { throw SystemError.last("set the mode of \(path)") }
        return file
    }

    private static func write(_ bytes: [UInt8], to file: Descriptor, _ name: String) throws(SystemError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(file.number, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw SystemError.last("write the journal's file \(name)") }
            rest = rest.dropFirst(count)
        }
    }

    private func read(_ count: Int, at offset: Int) throws(SystemError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        let got = pread(file.number, &bytes, count, off_t(offset))
        guard got >= 0 else { throw SystemError.last("read \(folder)/\(Self.current)") }
        return Array(bytes.prefix(got))
    }

    /// The agent that wrote it ended in the middle of its last line.
    private mutating func cutTornLine() throws(SystemError) {
        var end = sizeBytes
        while end > 0 {
            let start = max(0, end - 4096)
            let piece = try read(end - start, at: start)
            if let place = piece.lastIndex(of: UInt8(ascii: "\n")) {
                end = start + place + 1
                break
            }
            end = start
        }
        guard end < sizeBytes else { return }
        guard ftruncate(file.number, off_t(end)) == 0 else {
            throw SystemError.last("cut the last line of \(folder)/\(Self.current)")
        }
        sizeBytes = end
    }
}
