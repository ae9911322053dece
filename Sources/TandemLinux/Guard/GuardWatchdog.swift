import CLinux
import Glibc
import TandemSystem

/// The last resort: resets the machine when it is not fed. The guard begins to feed it when it is first armed, and goes on until it ends,
/// but not while an act for a lease that is over does not succeed. A guard that ends while it is not armed puts it away; one that ends
/// otherwise leaves it running: another guard must feed it in time.
public protocol GuardWatchdog {
    /// From now on it wants to be fed.
    func begin() throws(SystemError)
    /// Never waits.
    func feed()
    func end()
}

/// A watchdog of the kernel (`/dev/watchdog`). Its user must be able to open it (a rule of udev), as one guard opens it after another.
public final class DeviceWatchdog: GuardWatchdog {
    private let path: String
    private let seconds: Int32
    private var device: Descriptor?

    /// The longest time-out that still resets the machine before the lease of another begins, m + W + 1 s <= L (`protocol.md` 3.2); the
    /// shortest that there is where none does.
    public static func seconds(lease: Duration, margin: Duration) -> Int32 {
        Int32(clamping: max(1, (lease - margin - .seconds(1)).components.seconds))
    }

    /// - Parameter seconds: whole ones; a driver may take another value that it can do.
    public init(path: String, seconds: Int32) {
        self.path = path
        self.seconds = seconds
    }

    public func begin() throws(SystemError) {
        let number = open(path, O_WRONLY | O_CLOEXEC)
        guard number >= 0 else {
            throw SystemError.last(
                "open the watchdog \(path)", advice: "Let the user of the guard open it (udev: OWNER=\"postgres\").")
        }
        device = Descriptor(number)
        var taken = seconds
        // It runs already: without this call with the time-out of its driver, mostly 60 s.
        guard cguard_watchdog_timeout(number, &taken) == 0 else {
            let error = SystemError.last("set the watchdog \(path) to \(seconds) s")
            end()
            throw error
        }
    }

    public func feed() {
        guard let device else { return }
        // A failure cannot be mended here, and shows itself.
        _ = cl_write_quietly(device.number, "k", 1)
    }

    public func end() {
        guard let device else { return }
        // The magic character: closing means peace, unless the kernel was told otherwise (nowayout).
        _ = cl_write_quietly(device.number, "V", 1)
        self.device = nil
    }
}

/// Stands in for one in tests and in the lab: a byte for each call goes into a pipe with a name, or a file: "k", and "V" at the end.
public final class FileWatchdog: GuardWatchdog {
    private let path: String
    private var file: Descriptor?

    public init(path: String) {
        self.path = path
    }

    public func begin() throws(SystemError) {
        let number = open(path, O_RDWR | O_APPEND | O_NONBLOCK | O_CLOEXEC)
        guard number >= 0 else { throw SystemError.last("open \(path), which stands in for a watchdog") }
        file = Descriptor(number)
    }

    public func feed() { write("k") }

    public func end() {
        write("V")
        file = nil
    }

    private func write(_ byte: StaticString) {
        guard let file else { return }
        // A full pipe: its reader will find enough.
        _ = cl_write_quietly(file.number, byte.utf8Start, 1)
    }
}
