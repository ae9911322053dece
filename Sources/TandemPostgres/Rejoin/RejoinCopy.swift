import TandemCore
import TandemSystem

extension Rejoin {
    /// Makes a new base copy beside the old directory, verifies it, and swaps it in by rename. The old directory stays whole as
    /// `<dir>.diverged.<term>` until `removeDiverged`. Ended at any moment, it is completed by the next call, which goes on with
    /// the same copy id, so that its slot has kept the WAL.
    ///
    /// What lies elsewhere (`pg_wal` behind a link, tablespaces) stays there: it is copied beside its place, the old one is kept under the
    /// same ending, and each link says what it said (`Elsewhere`).
    ///
    /// Refused before anything is touched, if the place of a part is not mounted, cannot be swapped, or is somebody else's, or if the disk is
    /// too small.
    /// - Parameter term: in which the old directory was last primary; names it.
    public func copy(abandoned term: Term, work: Work) throws(PostgresError) -> Outcome {
        let attempted = "make \(settings.dataDirectory) a new copy of \(source.host)"
        let begun = SystemClock.now()
        try endLeftovers()
        try requireStopped(attempted)
        try requireOwnPlace(attempted)
        try requireRights(attempted)
        let place = try NewDirectory(settings, attempted)
        let known = try settledSystem()
        let remembered = try rememberedParts(attempted)
        let parts = Elsewhere.of(place.target) + remembered
        var pending = try PendingCopy.read(settings) ?? PendingCopy(copy: CopyID(high: Random.word(), low: Random.word()))
        if pending.aside == nil || pending.aside.map(OwnedFiles.exists) == true, Self.holdsInstance(place.target),
            try SetupIntent.read(settings, .copy)?.wholeDirectory == nil
        {
            pending.aside = Self.asideName(place.target, term, parts)
        }
        var copying = BaseCopy(
            settings: settings, node: node, source: source,
            options: .init(
                slot: pending.copy.applicationName, maxRateKilobytesPerSecond: options.maxRateKilobytesPerSecond,
                systemIdentifier: known, deadline: options.copyDeadline))
        copying.asideName = pending.aside ?? Self.asideName(place.target, term, parts)
        copying.remembered = remembered
        copying.moreArguments = moreCopyArguments
        copying.interruption = work.interruption
        copying.beforeStep = beforeCopyStep
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
            let step: Step = progress.step == .verifying ? .verifying : .copying
            onProgress(Progress(step: step, doneBytes: progress.doneBytes, totalBytes: progress.totalBytes))
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

    /// pg_basebackup, and the slot, need REPLICATION; the rest that a rewind would need is named with it.
    private func requireRights(_ attempted: String) throws(PostgresError) {
        let asked = try RejoinSource(source, attempted, deadline: options.surveyDeadline)
        defer { asked.close() }
        let facts = try asked.facts()
        guard !facts.mayReplicate else { return }
        let reason = RefusalReason.missingRights(
            role: source.user, database: source.database, functions: facts.missingFunctions, mayReplicate: false)
        throw PostgresError(
            attempted: attempted, happened: reason.text, meaning: "Nothing was changed.",
            advice: "Then run `pgtandem rejoin` again.")
    }

    /// What the directory had elsewhere when it was last seen whole; for one that is gone.
    /// - Throws: if it was on a file system that is not mounted now.
    private func rememberedParts(_ attempted: String) throws(PostgresError) -> [Elsewhere] {
        guard !Self.holdsInstance(settings.dataDirectory) else { return [] }
        let parts = try DirectoryIdentity.read(stateDirectory: settings.stateDirectory)?.elsewhere ?? []
        let mounts = try SetupTool.perform(attempted) { () throws(SystemError) in try MountTable.current() }
        var found: [Elsewhere] = []
        for part in parts {
            guard mounts.isMountPoint(part.mountPoint),
                let elsewhere = Elsewhere(part.kind, part.text, in: settings.dataDirectory)
            else {
                throw PostgresError(
                    attempted: attempted, happened: RefusalReason.missingPart(part.text).text, meaning: "Nothing was changed.",
                    advice: "Then run `pgtandem rejoin` again.")
            }
            found.append(elsewhere)
        }
        return found
    }

    /// Nothing is copied into a mount point whose disk is missing, or over what is not an instance.
    private func requireOwnPlace(_ attempted: String) throws(PostgresError) {
        let remembered = try DirectoryIdentity.read(stateDirectory: settings.stateDirectory)
        let reason: RefusalReason
        switch try DirectoryCheck.look(at: settings.dataDirectory, remembered: remembered) {
        case .unmounted(let place): reason = .notMounted(place)
        case .foreign(let names): reason = .foreignDirectory(names)
        case .instance:
            // A copy that was cut short between its swap and its links is gone on with.
            if let missing = Elsewhere.missing(in: settings.dataDirectory),
                try SetupIntent.read(settings, .copy)?.wholeDirectory == nil
            {
                reason = .missingPart(missing)
            } else if let part = try DirectoryIdentity.strayed(settings) {
                reason = .partNotMounted(part.text, on: part.mountPoint)
            } else {
                return
            }
        case .missing, .empty: return
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
        let intent = try SetupIntent.read(settings, .copy)
        // It was swapped in: what its parts hold may be nowhere else.
        guard intent?.wholeDirectory == nil else { return }
        let parts = intent?.elsewhere ?? []
        let place = try NewDirectory(settings, attempted)
        // pg_basebackup writes the manifest last: such a copy is complete, and may be the only place of what it holds.
        guard !OwnedFiles.exists(place.path + "/backup_manifest") else { return }
        try place.clear()
        for part in parts where OwnedFiles.exists(part.fresh) { try Leftovers.remove(part.fresh, settings, attempted) }
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

    /// One whose ending is free beside the directory and beside each part of it.
    private static func asideName(_ target: String, _ term: Term, _ parts: [Elsewhere]) -> String {
        let places = [target] + parts.map(\.place)
        func isTaken(_ ending: String) -> Bool { places.contains { OwnedFiles.exists($0 + ending) } }
        var ending = ".diverged.\(term)"
        var number = 2
        while isTaken(ending) {
            ending = ".diverged.\(term)-\(number)"
            number += 1
        }
        return target + ending
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
