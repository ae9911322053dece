import CLinux
import Glibc

/// One running child of `Tool`, used by one thread.
final class ToolRun {
    private let process: pid_t
    private let processEnd: Descriptor
    private let begun: Int64
    private var input: [UInt8]
    private var inputPipe: Descriptor?
    private var outputPipe: Descriptor?
    private var errorPipe: Descriptor?

    init(command: [String], environment: [String: String], input: [UInt8]) throws(SystemError) {
        let output = try Descriptor.pipe()
        let errors = try Descriptor.pipe()
        let feeding = input.isEmpty ? nil : try Descriptor.pipe()
        try output.reading.setNonBlocking()
        try errors.reading.setNonBlocking()
        try feeding?.writing.setNonBlocking()
        begun = SystemClock.now()
        let child = try ToolRun.spawn(
            command, environment, input: feeding?.reading, output: output.writing, errors: errors.writing)
        let number = cl_pidfd_open(child)
        guard number >= 0 else {
            let failure = SystemError.last("watch \(command[0])")
            _ = kill(-child, SIGKILL)
            var status: Int32 = 0
            _ = retrying { waitpid(child, &status, 0) }
            throw failure
        }
        process = child
        processEnd = Descriptor(number)
        self.input = input
        inputPipe = feeding?.writing
        outputPipe = output.reading
        errorPipe = errors.reading
    }

    private static func spawn(
        _ command: [String], _ environment: [String: String], input: Descriptor?, output: Descriptor, errors: Descriptor
    ) throws(SystemError) -> pid_t {
        var process: pid_t = 0
        let variables = environment.map { "\($0.key)=\($0.value)" }
        let code = withCStrings(command) { arguments in
            withCStrings(variables) { variables in
                command[0].withCString { path in
                    var order = cl_spawn_order(
                        path: path, arguments: arguments, environment: variables,
                        input: input?.number ?? -1, output: output.number, errors: errors.number)
                    return cl_spawn(&order, &process)
                }
            }
        }
        guard code == 0 else {
            throw SystemError(
                attempted: "start \(command[0])", code: code,
                advice: code == ENOENT ? "Install it, or correct its path." : nil)
        }
        return process
    }

    func toEnd(
        deadline: Duration, outputLimit: Int, interruption: Bell?, onLine: (@Sendable (String) -> Void)?
    ) -> ToolResult {
        var output = Tail(limit: outputLimit, onLine: onLine)
        var errors = Tail(limit: outputLimit, onLine: onLine)
        var end = begun &+ max(0, deadline.nanoseconds)
        if end < begun { end = .max }
        var ended = exchange(until: end, &output, &errors, interruption)
        let givenUp: ToolResult.Ending? = ended ? nil : SystemClock.now() >= end ? .timedOut : .interrupted
        if givenUp != nil {
            _ = kill(-process, SIGTERM)
            ended = exchange(until: SystemClock.now() &+ 300_000_000, &output, &errors)
            // Before the leader is reaped, its number cannot belong to another group.
            _ = kill(-process, SIGKILL)
            if !ended { ended = exchange(until: SystemClock.now() &+ 1_000_000_000, &output, &errors) }
        }
        let ending = ended ? reap() : leave()
        // What it wrote before its end is in the pipes now; more may come only from processes it left behind.
        drain(&outputPipe, &output, upTo: max(outputLimit, 1 << 20))
        drain(&errorPipe, &errors, upTo: max(outputLimit, 1 << 20))
        output.finish()
        errors.finish()
        return ToolResult(
            ending: givenUp ?? ending, output: output.text, errors: errors.text,
            duration: .nanoseconds(SystemClock.now() &- begun))
    }

    /// Feeds and reads until the process ended (true), or the time is over or somebody rang (false).
    private func exchange(
        until end: Int64, _ output: inout Tail, _ errors: inout Tail, _ interruption: Bell? = nil
    ) -> Bool {
        while true {
            var entries = [pollfd(fd: processEnd.number, events: Int16(POLLIN), revents: 0)]
            // poll(2) ignores entries with a negative number.
            entries.append(pollfd(fd: outputPipe?.number ?? -1, events: Int16(POLLIN), revents: 0))
            entries.append(pollfd(fd: errorPipe?.number ?? -1, events: Int16(POLLIN), revents: 0))
            entries.append(pollfd(fd: inputPipe?.number ?? -1, events: Int16(POLLOUT), revents: 0))
            entries.append(pollfd(fd: interruption?.number ?? -1, events: Int16(POLLIN), revents: 0))
            let left = Poll.milliseconds(until: end)
            let count = poll(&entries, nfds_t(entries.count), left)
            if count <= 0 {
                if SystemClock.now() >= end { return false }
                continue
            }
            if entries[1].revents != 0 { readOnce(&outputPipe, &output) }
            if entries[2].revents != 0 { readOnce(&errorPipe, &errors) }
            if entries[3].revents != 0 { feed() }
            if entries[0].revents != 0 { return true }
            if entries[4].revents != 0 { return false }
            // A child that writes without a pause keeps poll busy: the deadline is looked at here too.
            if SystemClock.now() >= end { return false }
        }
    }

    /// False when there is nothing more just now, or at the end (then the pipe is closed).
    @discardableResult
    private func readOnce(_ pipe: inout Descriptor?, _ tail: inout Tail) -> Bool {
        guard let number = pipe?.number else { return false }
        var piece = [UInt8](repeating: 0, count: 65536)
        let count = retrying { read(number, &piece, piece.count) }
        if count > 0 {
            tail.append(piece[..<count])
            return true
        }
        if count == 0 || errno != EAGAIN { pipe = nil }
        return false
    }

    private func drain(_ pipe: inout Descriptor?, _ tail: inout Tail, upTo limit: Int) {
        // Bounded: a process left behind may write for ever.
        let start = tail.received
        while tail.received - start < limit, readOnce(&pipe, &tail) {}
    }

    private func feed() {
        guard let number = inputPipe?.number else { return }
        let count = input.withUnsafeBytes { bytes in retrying { cl_write_quietly(number, bytes.baseAddress, bytes.count) } }
        if count > 0 { input.removeFirst(count) }
        // A program need not read all of its input: EPIPE is its right. Closing tells it the end.
        if input.isEmpty || (count < 0 && errno != EAGAIN) { inputPipe = nil }
    }

    private func reap() -> ToolResult.Ending {
        var status: Int32 = 0
        guard retrying({ waitpid(process, &status, 0) }) == process else {
            // Only if the whole program ignores SIGCHLD; the status is lost then, and unknown is no success.
            return .exited(-1)
        }
        return cl_exited(status) != 0 ? .exited(cl_exit_code(status)) : .signalled(cl_ending_signal(status))
    }

    /// It hangs in the kernel: a thread of its own waits for it, so that it does not stay a zombie when it ends.
    private func leave() -> ToolResult.Ending {
        let process = process
        do throws(SystemError) {
            try OwnThread.start("reap \(process)") {
                var status: Int32 = 0
                _ = retrying { waitpid(process, &status, 0) }
            }
        } catch {
            // No thread to be had: it will be a zombie until we end. The caller learns of the time-out either way.
        }
        return .timedOut
    }
}

/// The last bytes of a stream, and its lines as they come.
struct Tail {
    private let limit: Int
    private let onLine: (@Sendable (String) -> Void)?
    private var kept: [UInt8] = []
    private var line: [UInt8] = []
    /// Bytes that came in all.
    private(set) var received = 0

    init(limit: Int, onLine: (@Sendable (String) -> Void)?) {
        self.limit = max(0, limit)
        self.onLine = onLine
    }

    var text: String { String(decoding: kept.suffix(limit), as: UTF8.self) }

    mutating func append(_ bytes: ArraySlice<UInt8>) {
        received += bytes.count
        kept.append(contentsOf: bytes)
        if kept.count > 2 * limit + 65536 { kept.removeFirst(kept.count - limit) }
        guard let onLine else { return }
        for byte in bytes {
            if byte == UInt8(ascii: "\n") || byte == UInt8(ascii: "\r") {
                emit(onLine)
            } else if line.count < limit {
                line.append(byte)
            }
        }
    }

    mutating func finish() {
        if let onLine { emit(onLine) }
    }

    private mutating func emit(_ onLine: @Sendable (String) -> Void) {
        guard !line.isEmpty else { return }
        onLine(String(decoding: line, as: UTF8.self))
        line = []
    }
}

/// The strings as a C array that ends with a null pointer, for the length of the call.
private func withCStrings<Result>(
    _ strings: [String], _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> Result
) -> Result {
    var pointers: [UnsafeMutablePointer<CChar>?] = strings.map { strdup($0) }
    pointers.append(nil)
    defer { for pointer in pointers { free(pointer) } }
    return pointers.withUnsafeMutableBufferPointer { buffer in
        guard let base = buffer.baseAddress else { preconditionFailure("an array with an element has an address") }
        return body(base)
    }
}
