import Synchronization
import TandemSystem

/// A job in a thread of its own, beside the caller's: where one waits for a disk and the other for a processor.
struct SideJob<Value: Sendable>: Sendable {
    private final class Shared: Sendable {
        let result = Mutex<Result<Value, PostgresError>?>(nil)
        let done: Bell
        init() throws(SystemError) { done = try Bell() }
    }

    private let body: @Sendable () throws(PostgresError) -> Value
    private var shared: Shared?

    /// Begins it.
    init(_ name: String, _ body: @escaping @Sendable () throws(PostgresError) -> Value) {
        self.body = body
        do throws(SystemError) {
            let shared = try Shared()
            try OwnThread.start(name) {
                let result: Result<Value, PostgresError>
                do throws(PostgresError) { result = .success(try body()) } catch { result = .failure(error) }
                shared.result.withLock { $0 = result }
                shared.done.ring()
            }
            self.shared = shared
        } catch {
            // No thread, or no descriptor: it is done when it is asked for.
            shared = nil
        }
    }

    /// Waits for its end.
    func value() throws(PostgresError) -> Value {
        shared?.done.wait()
        guard let result = shared?.result.withLock({ $0 }) else { return try body() }
        return try result.get()
    }
}
