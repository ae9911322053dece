import TandemSystem

/// Where the last known postmaster stands, for an agent that starts after its directory was renamed: in the state directory, of this boot only.
struct PlaceNote: Sendable {
    private let path: String
    private let osUser: String?
    private let dataDirectory: String

    init(_ settings: InstanceSettings) {
        path = settings.stateDirectory + "/postmaster"
        osUser = settings.osUser
        dataDirectory = settings.dataDirectory
    }

    /// Returns at once: the state directory's disk may hang, and it only helps in a rare case.
    func write(_ known: InstanceProcesses.Known) {
        do throws(SystemError) {
            let text =
                "\(try SystemClock.bootID()) \(known.postmaster.pid) \(known.postmaster.startTime) \(known.place.device) \(known.place.number)\n"
            try OwnThread.start("note postmaster") {
                do throws(SystemError) { try OwnedFiles(user: osUser).write(text, to: path) } catch {
                    // The next agent knows less.
                }
            }
        } catch {
            // As above.
        }
    }

    /// For the first look of an agent. A damaged note is none.
    func recall() {
        do throws(SystemError) {
            guard let bytes = try DurableFile.read(path) else { return }
            let words = String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isWhitespace)
            guard words.count == 5, try words[0] == SystemClock.bootID(), let pid = Int32(words[1]), let start = UInt64(words[2]),
                let device = UInt64(words[3]), let number = UInt64(words[4])
            else { return }
            let known = InstanceProcesses.Known(
                postmaster: Postmaster(pid: pid, startTime: start), place: FilePlace(device: device, number: number))
            // Only while it lives: later, a rejoin may have moved its directory aside, and who is started there is somebody else.
            guard ProcessTable.startTime(of: pid) == start else { return }
            InstanceProcesses.known.withLock { if $0[dataDirectory] == nil { $0[dataDirectory] = known } }
        } catch {
            // What cannot be read is not known.
        }
    }
}
