import Foundation
import Glibc
import TandemSystem

/// The certificates of a witness: one cluster's files in the folder itself, or a folder per cluster, named like it. A value: loading anew
/// makes a new one.
public struct TLSShelf: Sendable {
    public let directory: String
    /// By cluster.
    public private(set) var identities: [String: TLSIdentity] = [:]
    /// Folders that cannot be used, with the reason. The others are served all the same.
    public private(set) var problems: [String: TLSError] = [:]
    /// The folder itself holds the files of one cluster.
    private var isSingle = false

    /// Everything that is there. A folder that cannot be used is a problem, not an error; the files of a single cluster are an error.
    public static func load(directory: String) throws(TLSError) -> TLSShelf {
        var shelf = TLSShelf(directory: directory)
        if access("\(directory)/node.crt", F_OK) == 0 {
            shelf.isSingle = true
            let identity = try TLSIdentity.witness(directory: directory)
            shelf.identities[identity.cluster] = identity
            return shelf
        }
        for name in try names(in: directory) { shelf.take(name) }
        return shelf
    }

    /// Everything anew. What was good and is broken now keeps its old certificate: a slip of the hand stops no pair.
    public func reloaded() throws(TLSError) -> TLSShelf {
        var shelf = try Self.load(directory: directory)
        for (cluster, identity) in identities where shelf.problems[cluster] != nil { shelf.identities[cluster] = identity }
        return shelf
    }

    /// With the folders that were added since.
    public func withAddedFolders() throws(TLSError) -> TLSShelf {
        guard !isSingle else { return self }
        var shelf = self
        for name in try Self.names(in: directory) where identities[name] == nil { shelf.take(name) }
        return shelf
    }

    /// For the TLS name that the other side asks for; nil: it asks for none. Refused: the reason.
    func identity(for host: String?) -> Result<TLSIdentity, any Error> {
        guard let host else {
            if isSingle, let only = identities.values.first { return .success(only) }
            return .failure(LinkEnd.certificateRefused("it does not say which cluster's witness it wants (no TLS server name)"))
        }
        guard let parts = TLSName.parts(of: host), parts.node == TLSName.witness else {
            return .failure(LinkEnd.certificateRefused("it asks for \(host.prefix(200)), which is no cluster's witness"))
        }
        if let identity = identities[parts.cluster] { return .success(identity) }
        let why = problems[parts.cluster].map { ": \($0)" } ?? " in \(directory)"
        return .failure(LinkEnd.certificateRefused("there are no certificates for the cluster \(parts.cluster)\(why)"))
    }

    private init(directory: String) { self.directory = directory }

    private mutating func take(_ name: String) {
        let folder = "\(directory)/\(name)"
        do throws(TLSError) {
            let identity = try TLSIdentity.witness(directory: folder)
            guard identity.cluster == name else {
                throw TLSError(
                    .foreignName, attempted: "use the certificates in \(folder)",
                    found: "they are for the cluster \(identity.cluster)", advice: "Name the folder like its cluster.")
            }
            identities[name] = identity
            problems[name] = nil
        } catch {
            problems[name] = error
        }
    }

    /// Folders that could be a cluster's.
    private static func names(in directory: String) throws(TLSError) -> [String] {
        let entries: [String]
        do {
            entries = try FileManager.default.contentsOfDirectory(atPath: directory)
        } catch {
            throw TLSError(
                .file, attempted: "read the folder \(directory)", found: "\(error.localizedDescription)",
                advice:
                    "Copy the folder `witness` of `pgtandem tls create` there, or a folder per cluster, and let the witness's user read them."
            )
        }
        return entries.sorted().filter { name in
            guard TLSName.problem(with: name) == nil else { return false }
            var isFolder: ObjCBool = false
            return FileManager.default.fileExists(atPath: "\(directory)/\(name)", isDirectory: &isFolder) && isFolder.boolValue
        }
    }
}

extension TLSIdentity {
    /// The witness's, of whichever cluster its certificate names.
    static func witness(directory: String) throws(TLSError) -> TLSIdentity {
        let certificate = try TLSFile.certificates("\(directory)/node.crt")[0]
        var names: [String] = []
        do {
            let presented = try certificate.extensions.subjectAlternativeNames.map(Array.init) ?? []
            names = presented.compactMap { if case .dnsName(let name) = $0 { name } else { nil } }
        } catch {
            // The same as a certificate without a name: it is told below.
        }
        guard names.count == 1, let parts = TLSName.parts(of: names[0]), parts.node == TLSName.witness else {
            throw TLSError(
                .foreignName, attempted: "use \(directory)/node.crt as a witness",
                found: "it is for \(names.isEmpty ? "nobody" : names.joined(separator: ", "))",
                advice: "Copy the folder `witness` that `pgtandem tls create` made.")
        }
        return try load(directory: directory, cluster: parts.cluster, node: TLSName.witness)
    }
}
