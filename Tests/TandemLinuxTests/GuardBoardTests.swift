import CLinux
import Glibc
import Synchronization
import TandemSystem
import Testing

@testable import TandemLinux

/// The page alone: what a reader sees whatever becomes of the writer.
@Suite struct GuardBoardTests {
    let path = "/dev/shm/board-\(getpid())-\(String(Random.word(), radix: 36))"
    private let bin: Bin

    /// Removes the file with the last reference.
    private final class Bin: Sendable {
        let path: String
        init(_ path: String) { self.path = path }
        deinit { unlink(path) }
    }

    init() { bin = Bin(path) }

    private let first = GuardOrder(generation: 1, isArmed: true, deadline: GuardDeadline(boot: 10, raw: 20))
    private let second = GuardOrder(generation: 1, isArmed: true, deadline: GuardDeadline(boot: 30, raw: 40))

    @Test func aNewPageIsSoundAndNotArmed() throws {
        let board = try GuardBoard(path: path)
        #expect(board.isSound && board.isInMemory && board.isInPlace)
        #expect(board.order == GuardOrder())
        #expect(board.guardian == nil && board.act == nil)
        let facts = try #require(try FileFacts.of(path))
        #expect(facts.mode & 0o777 == 0o600)
    }

    @Test func whatOneWritesAnotherReads() throws {
        let (agent, guardian) = (try GuardBoard(path: path), try GuardBoard(path: path))
        agent.write(first)
        #expect(guardian.order == first)
        agent.write(second)
        #expect(guardian.order == second)
        agent.write(GuardOrder(generation: 2))
        #expect(guardian.order == GuardOrder(generation: 2))
        let act = GuardAct(
            deadline: GuardDeadline(boot: 1, raw: 2), begun: 3, duration: .microseconds(4), silenced: .microseconds(8), killed: 5,
            survivors: 6, removedAddresses: 7,
            refusal: EPERM)
        guardian.act = act
        #expect(agent.act == act)
    }

    /// The agent is killed between two stores: the deadline before, the earlier one, stays; and its successor goes on from there.
    @Test func aWriterThatDiesInTheMiddleLeavesTheEarlierDeadline() throws {
        do {
            let dying = try GuardBoard(path: path)
            dying.write(first)
            dying.writeSlot(second)
        }
        let board = try GuardBoard(path: path)
        #expect(board.order == first)
        board.write(second)
        #expect(board.order == second)
    }

    /// Both clocks of one order, never of two: the writer puts the same number into both.
    @Test func aReaderNeverSeesHalfAnOrder() throws {
        let writer = try GuardBoard(path: path)
        let reader = try GuardBoard(path: path)
        let isOver = Flag()
        let done = try Bell()
        try OwnThread.start("writer") {
            var number: Int64 = 0
            while !isOver.value.load(ordering: .acquiring) {
                number += 1
                writer.write(
                    GuardOrder(generation: UInt64(number), isArmed: true, deadline: GuardDeadline(boot: number, raw: number)))
            }
            done.ring()
        }
        var last: Int64 = 0
        var seen = Set<Int64>()
        var halves = 0
        while seen.count < 2000 {
            guard let order = reader.order, let deadline = order.deadline else { continue }
            if deadline.boot != deadline.raw || order.generation != UInt64(deadline.boot) || deadline.boot < last { halves += 1 }
            last = deadline.boot
            seen.insert(last)
        }
        isOver.value.store(true, ordering: .releasing)
        done.wait(upTo: .seconds(5))
        #expect(halves == 0)
    }

    private final class Flag: Sendable {
        let value = Atomic(false)
    }

    @Test func aPageOfAnotherBootIsAsGoodAsEmpty() throws {
        let old = try GuardBoard(path: path)
        old.write(first)
        old.acted = GuardDeadline(boot: 5, raw: 6)
        try overwrite(at: 8, with: 77)
        #expect(old.order == nil, "whoever has it open does not go by it either")
        let board = try GuardBoard(path: path)
        #expect(board.order == GuardOrder())
        #expect(board.acted == GuardDeadline(boot: 0, raw: 0))
    }

    @Test func somebodyElsesBytesAreLeftAloneUntilTheAgentMakesThePageAnew() throws {
        do {
            try GuardBoard(path: path).write(first)
        }
        try overwrite(at: 0, with: 77)
        let board = try GuardBoard(path: path)
        #expect(!board.isSound && board.order == nil)
        board.makeAnew()
        #expect(board.order == GuardOrder())
    }

    @Test func aFileThatIsTooShortIsNotTrusted() throws {
        try DurableFile.write(Array("hello".utf8), to: path, mode: 0o600)
        #expect(try GuardBoard(path: path).order == nil)
        try DurableFile.write([], to: path, mode: 0o600)
        #expect(try GuardBoard(path: path).order == GuardOrder(), "an empty one was just being made")
    }

    @Test func aRemovedFileIsNoticed() throws {
        let board = try GuardBoard(path: path)
        unlink(path)
        #expect(!board.isInPlace)
        let other = try GuardBoard(path: path)
        #expect(other.isInPlace && !board.isInPlace)
    }

    @Test(arguments: ["/", "/srv/data", "/srv/äöü 1/\n2", String(repeating: "/long", count: 500)])
    func theDirectoryIsKeptForTheNextGuard(_ directory: String) throws {
        let scope = GuardScope(dataDirectory: "/d", interface: "lo", addresses: [], margin: .seconds(1))
        try GuardBoard(path: path).keep(directory: directory, of: scope)
        let board = try GuardBoard(path: path)
        #expect(board.directory(of: scope) == directory)
        var other = scope
        other.interface = "eth0"
        #expect(board.directory(of: other) == nil, "what another scope resolved is not ours")
    }

    @Test func aFolderThatIsNotThereIsAnErrorWithAdvice() {
        let error = #expect(throws: SystemError.self) { try GuardBoard(path: "/dev/shm/is-not-there/guard") }
        #expect(error?.advice != nil)
    }

    @Test func aScopeIsReadBackFromItsText() throws {
        let addresses = ["2001:db8::7", "192.0.2.7/24"].compactMap { VirtualAddress($0) }
        var scope = GuardScope(dataDirectory: "/d\n/e f", interface: "eth0", addresses: addresses, margin: .milliseconds(300))
        let read = try #require(GuardScope(text: scope.text))
        #expect(read.digest == scope.digest && read.dataDirectory == scope.dataDirectory && read.margin == scope.margin)
        let digest = scope.digest
        scope.addresses.reverse()
        #expect(scope.digest == digest, "their order means nothing")
        scope.margin += .milliseconds(1)
        #expect(scope.digest != digest)
        for text in ["", "x\neth0\n\n/d", "0\neth0\n\n/d", "1\n\n\n/d", "1\neth0\n1.2.3\n/d", "1\neth0\n\n"] {
            #expect(GuardScope(text: text) == nil)
        }
    }

    private func overwrite(at offset: Int, with value: UInt64) throws {
        let number = open(path, O_WRONLY | O_CLOEXEC)
        let file = Descriptor(number)
        var value = value
        guard pwrite(file.number, &value, 8, off_t(offset)) == 8 else { throw SystemError.last("write over \(path)") }
    }
}
