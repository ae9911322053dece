import Glibc
import TandemSystem
import Testing

@Suite struct DurableFileTests {
    let folder: Folder
    let path: String

    init() throws {
        folder = try Folder()
        path = "\(folder.path)/ledger"
    }

    @Test func whatWasWrittenIsReadWithTheModeAskedFor() throws {
        #expect(try DurableFile.read(path) == nil)
        try DurableFile.write([1, 2, 3], to: path, mode: 0o640)
        #expect(try DurableFile.read(path) == [1, 2, 3])
        let facts = try #require(try FileFacts.of(path))
        #expect(facts.mode == 0o640 && facts.kind == .file && facts.sizeBytes == 3)
        try DurableFile.write([], to: path, mode: 0o666)
        #expect(try DurableFile.read(path) == [])
        #expect(try FileFacts.of(path)?.mode == 0o666, "whatever the umask")
        #expect(try folder.names() == ["ledger"], "no temporary file stays")
    }

    @Test func removingTwiceIsFine() throws {
        try DurableFile.write([1], to: path, mode: 0o600)
        try DurableFile.remove(path)
        try DurableFile.remove(path)
        #expect(try DurableFile.read(path) == nil)
        try DurableFile.remove("\(folder.path)/no/such/folder")
    }

    @Test func aFileThatIsTooBigIsRefused() throws {
        try DurableFile.write([UInt8](repeating: 7, count: 100), to: path, mode: 0o600)
        #expect(try DurableFile.read(path, limit: 100)?.count == 100)
        let error = #expect(throws: SystemError.self) { try DurableFile.read(path, limit: 99) }
        #expect(error?.code == EFBIG)
    }

    @Test func aReaderNeverSeesAMixture() throws {
        let path = path
        try DurableFile.write([UInt8](repeating: 0, count: 50_000), to: path, mode: 0o600)
        let lane = Lane(name: "writer")
        let written = Seen<UInt8>()
        lane.submit {
            do {
                for number in 1...60 as ClosedRange<UInt8> {
                    try DurableFile.write([UInt8](repeating: number, count: 50_000), to: path, mode: 0o600)
                    written.add(number)
                }
            } catch {
                Issue.record("\(error)")
            }
        }
        defer { lane.stop() }
        var contents: Set<UInt8> = []
        let ended = try soon(.seconds(30)) {
            let bytes = try #require(try DurableFile.read(path))
            let first = try #require(bytes.first)
            #expect(bytes.count == 50_000 && bytes.allSatisfy { $0 == first })
            contents.insert(first)
            return written.all.count == 60
        }
        #expect(ended && contents.count > 1)
    }

    @Test func aFullDiskKeepsTheOldContent() throws {
        let disk = "\(folder.path)/disk"
        #expect(mkdir(disk, 0o755) == 0)
        #expect(try shell("mount -t tmpfs -o size=256k none '\(disk)'").succeeded)
        defer {
            do {
                #expect(try shell("umount '\(disk)'").succeeded)
            } catch {
                Issue.record("\(error)")
            }
        }
        let file = "\(disk)/ledger"
        try DurableFile.write([1, 2, 3], to: file, mode: 0o600)
        let error = #expect(throws: SystemError.self) {
            try DurableFile.write([UInt8](repeating: 9, count: 1 << 20), to: file, mode: 0o600)
        }
        #expect(error?.code == ENOSPC)
        #expect(error?.advice != nil)
        #expect(try DurableFile.read(file) == [1, 2, 3])
        #expect(try shell("ls -A '\(disk)'").output == "ledger\n")
        let space = try FileFacts.space(onFileSystemOf: file)
        #expect(space.totalBytes == 256 << 10 && space.freeBytes > 0 && space.freeBytes < 256 << 10)
        #expect(try FileFacts.of(file)?.deviceID != FileFacts.of(path)?.deviceID)
    }

    @Test func onlyOneLockIsHeld() throws {
        let first = try #require(try FileLock.acquire(path))
        #expect(try FileLock.acquire(path) == nil)
        #expect(try shell("flock --nonblock '\(path)' true").ending == .exited(1), "another process too")
        first.release()
        #expect(try FileLock.acquire(path) != nil)
    }

    @Test func factsTellWhatAFileIs() throws {
        #expect(try FileFacts.of("\(folder.path)/absent") == nil)
        #expect(symlink("/dev/null", path) == 0)
        #expect(try FileFacts.of(path)?.kind == .characterDevice)
        #expect(try FileFacts.of(path, followingLinks: false)?.kind == .symbolicLink)
        #expect(try FileFacts.of(folder.path)?.kind == .directory)
        #expect(try FileFacts.of(folder.path)?.ownerID == geteuid())
        #expect(try FileFacts.of(folder.path)?.isPrivate == false)
    }
}
