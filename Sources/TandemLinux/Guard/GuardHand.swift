import CLinux
import Glibc
import Synchronization
import TandemSystem

/// What ends an instance and gives its addresses up. All that it needs is opened, resolved and touched when it is made: the act itself
/// asks the kernel only, never a disk, and gets no memory.
final class GuardHand {
    private let scope: GuardScope
    private let table: AddressTable
    private let sockets: LocalSockets
    private let processes: Descriptor
    private static let room = 32768
    private let found = UnsafeMutablePointer<cguard_process>.allocate(capacity: room)
    /// Without symbolic links, as /proc shows it; nil: there was no such directory so far.
    private(set) var directory: String?
    private let strays: GuardStrays

    init(_ scope: GuardScope) throws(SystemError) {
        self.scope = scope
        table = try AddressTable(interface: scope.interface)
        sockets = try LocalSockets()
        strays = try GuardStrays()
        let number = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard number >= 0 else { throw SystemError.last("open /proc", advice: "Mount /proc.") }
        processes = Descriptor(number)
        found.initialize(repeating: cguard_process(), count: GuardHand.room)
        cguard_keep_memory(4 << 20)
    }

    deinit { found.deallocate() }

    /// Asks the file system, which may hang for ever with its disk: in a thread of its own, and not for long. What the board keeps from a
    /// guard before serves then.
    func resolveDirectory(_ board: GuardBoard) throws(SystemError) {
        let answer = Answer()
        let path = scope.dataDirectory
        let strays = self.strays
        let done = try Bell()
        try OwnThread.start("guard resolves", stackBytes: GuardProcess.stackBytes) {
            let resolved = ProcessTable.resolved(path)
            let place = resolved.flatMap { strays.place(now: $0) }
            answer.found.withLock { $0 = resolved.map { ($0, place) } }
            done.ring()
        }
        _ = done.wait(upTo: scope.margin / 4)
        if let (resolved, place) = answer.found.withLock({ $0 }) {
            directory = resolved
            strays.know(place, resolved)
            board.keep(directory: resolved, of: scope)
        } else {
            strays.know(nil, "")
            directory = directory ?? board.directory(of: scope)
        }
    }

    private final class Answer: Sendable {
        let found = Mutex<(path: String, place: FilePlace?)?>(nil)
    }

    /// All that an act does, but for what it changes. For the first time it makes memory resident that would else be met at the act.
    func rehearse() throws(SystemError) {
        _ = look()
        _ = try sockets.count(withLocal: scope.addresses.map(\.address))
        _ = try table.held(of: scope.addresses)
    }

    /// Ends every process of the instance and gives the addresses up, and returns when that is so. Where it does not succeed it goes on:
    /// without end for a process, for a second for an address.
    /// - Parameter told: called after every round, of which each lasts milliseconds.
    func act(for deadline: GuardDeadline, told: (GuardAct) -> Void) -> GuardAct {
        var act = GuardAct(
            deadline: deadline, begun: SystemClock.now(), duration: nil, silenced: nil, killed: 0, survivors: 0,
            removedAddresses: 0,
            refusal: 0)
        // In its own thread, for which nothing here waits.
        strays.hunt()
        act.killed = kill()
        // Whatever the postmaster forked after the first look: from here on nobody is left who could start another. Before the
        // addresses, since the kernel's lock for them may be held for seconds by a network card's driver.
        act.survivors = kill()
        var held = scope.addresses
        while true {
            let round = SystemClock.now()
            if !held.isEmpty {
                giveUp(&held, &act)
                // From here on no client hears anything: whoever is left has SIGKILL pending and never runs its program again.
                if held.isEmpty { act.silenced = .nanoseconds(SystemClock.now() - act.begun) }
            }
            // Not before: some ordinary process may hold the kernel's lock for addresses, and those that end would not let it go on.
            act.survivors = kill(hurrying: held.isEmpty)
            let now = SystemClock.now()
            if act.survivors == 0 {
                if held.isEmpty { act.duration = .nanoseconds(now - act.begun) }
                if held.isEmpty || now - act.begun > 1_000_000_000 { return act }
            }
            told(act)
            // Their end takes processor time, of which our looking must not take much.
            var pause = timespec(tv_sec: 0, tv_nsec: Int(min(50_000_000, max(1_000_000, (now - round) * 4))))
            nanosleep(&pause, nil)
        }
    }

    /// SIGKILL for every process of the directory, the postmaster before its children.
    /// - Returns: how many there are. Those that we may not signal are none of the instance, whose processes have our own user: a person's
    ///   shell in the directory.
    private func kill(hurrying: Bool = false) -> Int {
        guard let (told, all) = look() else { return 1 }
        var left = all
        for leads in [Int32(1), 0] {
            for place in 0..<told where found[place].leads == leads {
                let pid = found[place].pid
                if Glibc.kill(pid, SIGKILL) == 0 {
                    if hurrying { hurry(pid) }
                } else if errno == EPERM {
                    left -= 1
                }
            }
        }
        return left
    }

    /// A process that is killed ends itself, as soon as it gets a processor: on a busy host hundreds would wait for theirs in turn.
    private func hurry(_ pid: Int32) {
        var parameters = sched_param(sched_priority: 1)
        if sched_setscheduler(pid, SCHED_RR, &parameters) != 0 {
            setpriority(__priority_which_t(PRIO_PROCESS.rawValue), id_t(pid), -20)
        }
    }

    /// Nil: /proc cannot be listed just now.
    private func look() -> (told: Int, all: Int)? {
        let count = cguard_processes(processes.number, directory ?? scope.dataDirectory, found, GuardHand.room)
        return count < 0 ? nil : (min(count, GuardHand.room), count)
    }

    /// Connections first, so that the reset still leaves with the address as its source (hazard H20).
    private func giveUp(_ held: inout [VirtualAddress], _ act: inout GuardAct) {
        let outcome = sockets.end(withLocal: held.map(\.address))
        act.refusal = outcome.refused?.code ?? 0
        var left: [VirtualAddress] = []
        for address in held {
            do throws(SystemError) {
                if try table.remove(address) { act.removedAddresses += 1 }
            } catch {
                act.refusal = error.code
                left.append(address)
            }
        }
        held = left
    }
}
