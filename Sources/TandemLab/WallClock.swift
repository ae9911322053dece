import Glibc
import TandemSystem

/// A wall clock of one host that can be moved while its programs run. The kernel has one for all namespaces, so it is done by a
/// library that stands before the C library in every program that is started in the host: by its services and what they start
/// (PostgreSQL inherits it, as on a host whose clock is wrong) and by `LabHost.run` and `spawn`. Boot and monotonic clocks stay
/// as they are. Not moved: times of files, and timers that wait for a moment of the wall clock (they wait for the true one).
struct WallClock: Sendable {
    /// A folder of one host on this machine, which appears in the host as `place`. Its file system must not be full.
    let folder: String

    /// In a host. Not below /run or /tmp, which each boot makes anew.
    static let place = "/usr/local/lib/pgtandem-lab"
    private static let library = "wall.so"
    private static let offset = "offset"

    var environment: [String: String] {
        ["LD_PRELOAD": "\(WallClock.place)/\(WallClock.library)", "WALL_OFFSET_FILE": "\(WallClock.place)/\(WallClock.offset)"]
    }

    /// Compiles the library and puts the clock right. An offset that is there stays: it survives a power-off, as a wrong clock does.
    /// - Parameter compiler: a program of the usual places.
    /// - Throws: with the package to install where there is no compiler.
    func prepare(compiler: String = "gcc") throws(LabError) {
        guard access("\(folder)/\(WallClock.library)", F_OK) != 0 else { return }
        let gcc: String
        do throws(LabError) { gcc = try Command.path(compiler, package: "gcc") } catch {
            throw LabError(
                attempted: "make a wall clock that can be moved",
                happened: "there is no C compiler (\(compiler)) for its library",
                advice: "Install the packages gcc and libc6-dev, or leave LabOptions.movableWallClocks empty.")
        }
        try Text.makeFolder(folder)
        let source = "\(folder)/wall.c"
        try Text.create(source, Array(WallClock.source.utf8))
        let library = "\(folder)/\(WallClock.library)"
        try Command.run(gcc, ["-O2", "-shared", "-fPIC", "-pipe", "-o", library, source], deadline: .seconds(60))
        // The agent becomes another user.
        guard chmod(library, 0o755) == 0 else { throw LabError(SystemError.last("set the mode of \(library)")) }
        try move(seconds: 0)
    }

    /// By rename: a reader must never find it empty, which would be the true time.
    func move(seconds: Int64) throws(LabError) {
        let file = "\(folder)/\(WallClock.offset)"
        try Text.create("\(file).new", Array("\(seconds)\n".utf8))
        guard rename("\(file).new", file) == 0 else { throw LabError(SystemError.last("replace \(file)")) }
    }

    /// The offset is read again after 50 ms: one question about the time must not cost a file each time.
    private static let source = """
        #define _GNU_SOURCE
        #include <errno.h>
        #include <fcntl.h>
        #include <stdlib.h>
        #include <sys/syscall.h>
        #include <sys/time.h>
        #include <time.h>
        #include <unistd.h>

        static long offset, read_at;

        static long moved(void) {
            struct timespec now;
            syscall(SYS_clock_gettime, CLOCK_MONOTONIC_COARSE, &now);
            long at = now.tv_sec * 1000 + now.tv_nsec / 1000000 + 1;
            long last = __atomic_load_n(&read_at, __ATOMIC_ACQUIRE);
            if (last && at - last < 50) return __atomic_load_n(&offset, __ATOMIC_RELAXED);
            int before = errno;
            const char *path = getenv("WALL_OFFSET_FILE");
            int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
            if (file >= 0) {
                char text[32] = {0};
                if (read(file, text, 31) > 0) __atomic_store_n(&offset, atol(text), __ATOMIC_RELAXED);
                close(file);
            }
            __atomic_store_n(&read_at, at, __ATOMIC_RELEASE);
            errno = before;
            return __atomic_load_n(&offset, __ATOMIC_RELAXED);
        }

        int clock_gettime(clockid_t clock, struct timespec *time) {
            int code = syscall(SYS_clock_gettime, clock, time);
            if (!code && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI)) time->tv_sec += moved();
            return code;
        }

        int gettimeofday(struct timeval *time, void *zone) {
            struct timespec now;
            (void)zone;
            clock_gettime(CLOCK_REALTIME, &now);
            time->tv_sec = now.tv_sec;
            time->tv_usec = now.tv_nsec / 1000;
            return 0;
        }

        time_t time(time_t *place) {
            struct timespec now;
            clock_gettime(CLOCK_REALTIME, &now);
            if (place) *place = now.tv_sec;
            return now.tv_sec;
        }

        """
}

extension LabHost {
    /// So many hours from the true time, for all programs of the host, within 50 ms; 0: the true time again. It stays so over a
    /// power-off.
    /// - Throws: if the lab was not told to prepare this host's clock.
    public func moveWallClock(hours: Double) throws(LabError) {
        guard let clock = place.wallClock else {
            throw LabError(
                attempted: "move the wall clock of the host \(name)", happened: "its programs look at this machine's clock",
                advice: "Name the host in LabOptions.movableWallClocks.")
        }
        try clock.move(seconds: Int64((hours * 3600).rounded()))
    }
}
