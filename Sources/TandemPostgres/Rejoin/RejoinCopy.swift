import TandemCore
import TandemSystem

extension Rejoin {
    /// Makes a new base copy beside the old directory, verifies it, and swaps it in by rename. The old directory stays whole as
    /// `<dir>.diverged.<term>` until `removeDiverged`. Ended at any moment, it is completed by the next call, which goes on with
    /// the same copy id, so that its slot has kept the WAL.
    ///
    /// Refused before anything is touched, if `pg_wal` is a symbolic link (the copy would bring it into the data directory), a
    /// tablespace's place is not empty, or the disk is too small.
    /// - Parameter term: in which the old directory was last primary; names it.
    public func copy(abandoned term: Term, work: Work) throws(PostgresError) -> Outcome {
        let attempted = "make \(settings.dataDirectory) a new copy of \(source.host)"
        let begun = SystemClock.now()
        try endLeftovers()
        try requireStopped(attempted)
        try requireOwnPlace(attempted)
        let place = try NewDirectory(settings, attempted)
        let known = try settledSystem()
        if let link = DirectoryCheck.linkTarget(place.target + "/pg_wal") {
            throw PostgresError(
                attempted: attempted, happened: "pg_wal of the old directory is a link to \(link).",
                meaning: "The new copy would have its WAL in the data directory; nothing was changed.",
                advice: "Move pg_wal back into the data directory, or make the copy by hand with `pg_basebackup --waldir`.")
        }
        var pending = try PendingCopy.read(settings) ?? PendingCopy(copy: CopyID(high: Random.word(), low: Random.word()))
        if pending.aside == nil || pending.aside.map(OwnedFiles.exists) == true, Self.holdsInstance(place.target),
            try SetupIntent.read(settings, .copy)?.wholeDirectory == nil
        {
            pending.aside = Self.asideName(place.target, term)
        }
        var copying = BaseCopy(
            settings: settings, node: node, source: source,
            options: .init(
                slot: pending.copy.applicationName, maxRateKilobytesPerSecond: options.maxRateKilobytesPerSecond,
                systemIdentifier: known, deadline: options.copyDeadline))
        copying.asideName = pending.aside ?? Self.asideName(place.target, term)
        copying.moreArguments = moreCopyArguments
        try copying.requireRoom()
        try pending.write(settings)
        let config = KeptConfig(rejoin: self, attempted: attempted)
        // Else the directory in this place holds files of the source, and ours were kept before.
        let (begunCopy, begunRewind) = (try SetupIntent.read(settings, .copy), try Rejoin.unfinishedRewind(settings))
        if (begunCopy == nil && begunRewind == nil) || !config.isKept { try config.save(place.target) }
        try step(.preparingSource, work)
        try work.prepareSource(pending.copy)
        try step(.copying, work)
        let copy = pending.copy
        var notes: [String] = []
        let onProgress = work.onProgress
        let report = try copying.run { progress in
            onProgress(Progress(step: .copying, doneBytes: progress.doneBytes, totalBytes: progress.totalBytes))
        } writeMark: { _ throws(PostgresError) in
            // The directory in this place is a new one: what was noted about the old one is over.
            try RejoinIntent.remove(settings)
            notes = try config.restore(to: place.target)
            notes += try BaseCopyTidy(settings: settings, directory: place.target, attempted: attempted).run()
            try finish(copy, work, attempted)
        }
        try config.remove()
        try PendingCopy.remove(settings)
        return Outcome(
            copy: copy, movedAside: report.movedAside ?? pending.aside.flatMap { OwnedFiles.exists($0) ? $0 : nil }, saved: nil,
            notes: report.notes + notes, duration: .nanoseconds(SystemClock.now() - begun))
    }

    /// Nothing is copied into a mount point whose disk is missing, or over what is not an instance.
    private func requireOwnPlace(_ attempted: String) throws(PostgresError) {
        let remembered = try DirectoryIdentity.read(stateDirectory: settings.stateDirectory)
        let reason: RefusalReason
        switch try DirectoryCheck.look(at: settings.dataDirectory, remembered: remembered) {
        case .unmounted(let place): reason = .notMounted(place)
        case .foreign(let names): reason = .foreignDirectory(names)
        case .missing, .empty, .instance: return
        }
        throw PostgresError(
            attempted: attempted, happened: reason.text, meaning: "Nothing was changed.",
            advice: "Then run `pgtandem rejoin` again.")
    }

    /// A copy whose mark stands is whole; only the notes about it were not removed before the process ended. Left, they would make a later
    /// call take the directory, and its tablespaces, for unfinished work of its own.
    func settleFinishedCopy() throws(PostgresError) {
        guard let pending = try PendingCopy.read(settings), let mark = try CopyMarkFile.readSound(settings.dataDirectory),
            mark.node == node, mark.copy == pending.copy
        else { return }
        try SetupIntent.remove(settings, .copy)
        try PendingCopy.remove(settings)
    }

    /// Half of a copy beside a directory that was never given up: power was lost, and nobody may want the copy any more. It would only take
    /// space; whoever still needs one begins anew.
    ///
    /// What it has put into tablespaces stays, as the next copy knows it by its note: only here could they be somebody's.
    func giveUpCopy(_ attempted: String) throws(PostgresError) {
        guard let pending = try PendingCopy.read(settings), let mark = try CopyMarkFile.readSound(settings.dataDirectory),
            mark.node == node, mark.copy != pending.copy, try Rejoin.unfinishedRewind(settings) == nil,
            try SetupIntent.read(settings, .copy)?.tablespaces.isEmpty != false
        else { return }
        let place = try NewDirectory(settings, attempted)
        // pg_basebackup writes the manifest last: such a copy is complete, and may be the only place of what it holds.
        guard !OwnedFiles.exists(place.path + "/backup_manifest") else { return }
        try place.clear()
        try SetupIntent.remove(settings, .copy)
        try PendingCopy.remove(settings)
    }

    /// What the source must be.
    private func settledSystem() throws(PostgresError) -> UInt64? {
        if let given = options.systemIdentifier { return given }
        if let own = try DirectoryFacts.systemIdentifier(of: settings.dataDirectory) { return own }
        return try DirectoryIdentity.read(stateDirectory: settings.stateDirectory)?.systemIdentifier
    }

    private static func holdsInstance(_ target: String) -> Bool { OwnedFiles.names(in: target)?.isEmpty == false }

    private static func asideName(_ target: String, _ term: Term) -> String {
        let name = "\(target).diverged.\(term)"
        guard OwnedFiles.exists(name) else { return name }
        var number = 2
        while OwnedFiles.exists("\(name)-\(number)") { number += 1 }
        return "\(name)-\(number)"
    }
}

/// The copy that is being made, from the first call until it is whole: a later call goes on with its id, and its slot.
private struct PendingCopy {
    var copy: CopyID
    /// Where the old directory goes.
    var aside: String?

    private static func path(_ settings: InstanceSettings) -> String { settings.stateDirectory + "/rejoin-copy" }

    /// nil: there is none, or it cannot be understood; it only saves a slot.
    static func read(_ settings: InstanceSettings) throws(PostgresError) -> PendingCopy? {
        let path = path(settings)
        let bytes = try SetupTool.perform("read \(path)") { () throws(SystemError) in try DurableFile.read(path) } ?? []
        let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
        guard lines.count == 3, let copy = CopyID(lines[0]) else { return nil }
        return PendingCopy(copy: copy, aside: lines[1].isEmpty ? nil : String(lines[1]))
    }

    func write(_ settings: InstanceSettings) throws(PostgresError) {
        let path = PendingCopy.path(settings)
        try SetupTool.perform("write \(path)") { () throws(SystemError) in
            try OwnedFiles(user: settings.osUser).write("\(copy)\n\(aside ?? "")\n", to: path)
        }
    }

    static func remove(_ settings: InstanceSettings) throws(PostgresError) {
        let path = path(settings)
        try SetupTool.perform("remove \(path)") { () throws(SystemError) in try DurableFile.remove(path) }
    }
}
