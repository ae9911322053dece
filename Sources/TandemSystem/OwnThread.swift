import CLinux
import Glibc

/// A plain thread of the operating system, outside Swift's pool: blocking calls may stand in it as long as they like.
public enum OwnThread {
    /// Starts `body` in a new detached thread with all signals blocked (they belong to the main thread).
    /// - Parameters:
    ///   - name: shown by `ps -L`; the kernel keeps 15 bytes.
    ///   - stackBytes: nil: the system's default, mostly 8 MiB. Where memory is locked, all of it is taken at once.
    ///   - isPatient: its timed waits may end 20 ms late, together with others: a wake-up of an idle host is dear.
    public static func start(
        _ name: String, stackBytes: Int? = nil, isPatient: Bool = false, _ body: @escaping @Sendable () -> Void
    ) throws(SystemError) {
        let order = Unmanaged.passRetained(Order(name: name, isPatient: isPatient, body: body))
        var all = sigset_t()
        var before = sigset_t()
        sigfillset(&all)
        pthread_sigmask(SIG_BLOCK, &all, &before)
        var thread = pthread_t()
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        // A size that the system does not take leaves its default.
        if let stackBytes { pthread_attr_setstacksize(&attributes, stackBytes) }
        let code = pthread_create(
            &thread, &attributes,
            { context in
                guard let context else { return nil }
                let order = Unmanaged<Order>.fromOpaque(context).takeRetainedValue()
                cl_name_thread(order.name)
                if order.isPatient { cl_be_patient(20_000_000) }
                order.body()
                return nil
            }, order.toOpaque())
        pthread_sigmask(SIG_SETMASK, &before, nil)
        guard code == 0 else {
            order.release()
            throw SystemError(attempted: "start the thread \(name)", code: code, advice: "Raise the limit of tasks.")
        }
        pthread_detach(thread)
    }

    private final class Order: Sendable {
        let name: String
        let isPatient: Bool
        let body: @Sendable () -> Void

        init(name: String, isPatient: Bool, body: @escaping @Sendable () -> Void) {
            self.name = name
            self.isPatient = isPatient
            self.body = body
        }
    }
}
