import Glibc
import Logging
import TandemWire

/// One line per entry on standard error: text for people and journald, or JSON. The time is wall time: for reading only.
struct LineLog: LogHandler {
    let isJSON: Bool
    let node: String
    let writer: LogWriter
    var metadata: Logger.Metadata = [:]
    var logLevel: Logger.Level = .info

    init(isJSON: Bool, node: String, writer: LogWriter) {
        self.isJSON = isJSON
        self.node = node
        self.writer = writer
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        write(event)
        // The process may be about to end because of it.
        if event.level == .critical { writer.flush(within: .milliseconds(200)) }
    }

    private func write(_ event: LogEvent) {
        let facts = metadata.merging(event.metadata ?? [:]) { _, new in new }.sorted { $0.key < $1.key }
        guard isJSON else {
            let text = facts.map { " \($0.key)=\(Self.quoted("\($0.value)"))" }.joined()
            writer.add("\(Self.time()) \(event.level.rawValue) \(node): \(event.message)\(text)\n")
            return
        }
        var fields = ["time": Self.time(), "level": event.level.rawValue, "node": node, "message": "\(event.message)"]
        for fact in facts { fields[fact.key] = "\(fact.value)" }
        do {
            writer.add(String(decoding: try JSON.encode(fields), as: UTF8.self) + "\n")
        } catch {
            writer.add("\(event.message)\n")
        }
    }

    private static func quoted(_ text: String) -> String {
        text.contains(where: { $0 == " " || $0 == "\"" || $0 == "=" })
            ? "\"\(text.split(separator: "\n").joined(separator: " | "))\"" : text
    }

    /// RFC 3339, UTC, milliseconds.
    private static func time() -> String {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        var parts = tm()
        gmtime_r(&now.tv_sec, &parts)
        func pad(_ number: some BinaryInteger, _ width: Int) -> String {
            let digits = String(number)
            return String(repeating: "0", count: max(0, width - digits.count)) + digits
        }
        return
            "\(parts.tm_year + 1900)-\(pad(parts.tm_mon + 1, 2))-\(pad(parts.tm_mday, 2))T\(pad(parts.tm_hour, 2)):\(pad(parts.tm_min, 2)):\(pad(parts.tm_sec, 2)).\(pad(now.tv_nsec / 1_000_000, 3))Z"
    }
}
