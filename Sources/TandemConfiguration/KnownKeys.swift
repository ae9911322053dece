/// Which keys exist, by section: what this version honours, and what the specification has that is still to come.
enum KnownKeys {
    /// The sections and their keys; the section of a node is `nodes.*`.
    static let sections: [String: [String]] = [
        "": [
            "cluster", "node", "nodes", "agent_port", "virtual_addresses", "gateway", "postgresql", "replication", "limits",
            "arbiter", "timing", "watchdog", "preferred_primary", "barred_primary", "failback", "rejoin", "tls", "log",
            "state_directory", "control_socket",
        ],
        "nodes.*": ["addresses"],
        "virtual_addresses": ["interface", "primary", "standby"],
        "postgresql": [
            "bin_directory", "data_directory", "config_file", "hba_file", "os_user", "database", "port", "socket_directory",
            "superuser", "hang_patience",
        ],
        "replication": ["mode", "user", "password_file"],
        "limits": ["promote", "handover", "max_staleness", "return_standby_address"],
        "limits.promote": ["bytes", "age"],
        "limits.handover": ["bytes"],
        "limits.return_standby_address": ["bytes", "age"],
        "arbiter": ["kind", "witness"],
        "arbiter.witness": ["address", "port"],
        "watchdog": ["device"],
        "failback": ["window", "notice"],
        "rejoin": ["bandwidth", "window", "diverged"],
        "rejoin.diverged": ["age", "bytes"],
        "timing": ["profile", "heartbeat", "lease"],
        "tls": ["directory"],
        "log": ["format", "level"],
    ]

    /// Keys of later versions, by section. They are refused: a setting that nothing acts on would be a promise nobody keeps.
    static let later: [String: [String]] = [
        "": ["archive", "http", "hooks"],
        "arbiter": ["etcd", "fencing"],
    ]

    static func isLater(_ key: String, in section: String) -> Bool { later[section]?.contains(key) ?? false }

    enum Suggestion: Hashable {
        /// A key of the same section that is spelt much like it.
        case spelling(String)
        /// The same key in another section.
        case place(section: String)
    }

    /// What the writer of an unknown key probably meant.
    static func suggestion(for key: String, in section: String) -> Suggestion? {
        let here = (sections[section] ?? []) + (later[section] ?? [])
        let distances = here.map { (key: $0, distance: editDistance(key.lowercased(), $0)) }
        if let nearest = distances.min(by: { $0.distance < $1.distance }),
            nearest.distance <= max(1, min(3, nearest.key.count / 3))
        {
            return .spelling(nearest.key)
        }
        let longer = here.filter { key.count >= 4 && $0.hasPrefix(key.lowercased()) }
        if longer.count == 1, let only = longer.first { return .spelling(only) }
        let elsewhere = sections.filter {
            $0.key != section && !["nodes.*", "arbiter.witness"].contains($0.key) && $0.value.contains(key)
        }
        guard elsewhere.count == 1, let place = elsewhere.first else { return nil }
        return .place(section: place.key)
    }

    /// Insertions, deletions, replacements and swaps of neighbours that turn one text into the other.
    static func editDistance(_ a: String, _ b: String) -> Int {
        let a = Array(a.unicodeScalars), b = Array(b.unicodeScalars)
        if a.isEmpty || b.isEmpty { return max(a.count, b.count) }
        // Keys are short; a long text is no misspelling of one, and must not cost its square.
        if a.count > 64 || b.count > 64 { return max(a.count, b.count) }
        var older = [Int](repeating: 0, count: b.count + 1)
        var last = Array(0...b.count)
        for i in 1...a.count {
            var row = [i] + [Int](repeating: 0, count: b.count)
            for j in 1...b.count {
                let replaced = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)
                row[j] = min(last[j] + 1, row[j - 1] + 1, replaced)
                if i > 1, j > 1, a[i - 1] == b[j - 2], a[i - 2] == b[j - 1] { row[j] = min(row[j], older[j - 2] + 1) }
            }
            older = last
            last = row
        }
        return last[b.count]
    }
}
