import Glibc
import TandemSystem

/// What a process costs this machine.
enum ProcessCost {
    /// Processor time of it and of the children that it has waited for.
    static func cpuSeconds(_ pid: Int32) throws -> Double {
        let text = String(decoding: try DurableFile.read("/proc/\(pid)/stat") ?? [], as: UTF8.self)
        // The name, in parentheses, may hold anything; utime, stime, cutime and cstime are the 12th to the 15th field behind it.
        let fields = text[(text.lastIndex(of: ")") ?? text.startIndex)...].split(separator: " ")
        guard fields.count > 15 else { throw CommandFailure.failed("the process \(pid) is gone") }
        return fields[12...15].compactMap { Double($0) }.reduce(0, +) / Double(sysconf(Int32(_SC_CLK_TCK)))
    }

    /// Kilobytes: what nobody else has, and what is in memory of it.
    static func memory(_ pid: Int32) throws -> (own: Int, resident: Int) {
        let text = String(decoding: try DurableFile.read("/proc/\(pid)/smaps_rollup") ?? [], as: UTF8.self)
        func kilobytes(_ name: String) -> Int {
            let line = text.split(separator: "\n").first { $0.hasPrefix(name + ":") }
            return line.flatMap { Int($0.split(separator: " ").dropFirst().first ?? "") } ?? 0
        }
        return (kilobytes("Private_Clean") + kilobytes("Private_Dirty"), kilobytes("Rss"))
    }
}
