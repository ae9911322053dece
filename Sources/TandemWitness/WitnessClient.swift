import TandemNetwork
import TandemRuntime
import TandemSystem
import TandemWire

/// `witness list` and `witness forget`: through the control socket of a running witness, or on the files where none runs.
public struct WitnessClient {
    public enum Failure: Error, Sendable, CustomStringConvertible {
        case refused(String)
        case unreachable(String)
        public var description: String {
            switch self {
            case .refused(let text), .unreachable(let text): text
            }
        }
    }

    private let folder: WitnessFolder

    public init(state: String) { folder = WitnessFolder(state) }

    public func list() throws(Failure) -> WitnessList {
        try reach { lock throws in
            guard lock == nil else { return try read() }
            guard let list = try ask(WitnessOrder(command: "list")).list else {
                throw Failure.unreachable("the witness is just ending: try again")
            }
            return list
        }
    }

    /// - Returns: what was done.
    public func forget(_ cluster: String) throws(Failure) -> String {
        guard TLSName.problem(with: cluster) == nil else {
            throw .refused("`\(cluster)` cannot be the name of a cluster: look at `pgtandem witness list`")
        }
        return try reach { lock throws in
            guard lock != nil else {
                let reply = try ask(WitnessOrder(command: "forget", cluster: cluster))
                guard let done = reply.done else { throw Failure.refused(reply.refused ?? "the witness gave no answer") }
                return done
            }
            guard try folder.clusters().contains(cluster) else {
                throw Failure.refused("there is no pair `\(cluster)` in \(folder.path): look at `pgtandem witness list`")
            }
            try folder.remove(cluster)
            return Self.forgotten(cluster)
        }
    }

    static func forgotten(_ cluster: String) -> String {
        "forgotten: \(cluster). Whoever comes under this name next is taken for the pair; its record is written anew by its nodes, and until it "
            + "is, nothing is granted."
    }

    /// With the lock where no witness runs; without it a witness is there, or another command.
    private func reach<Value>(_ work: (FileLock?) throws -> Value) throws(Failure) -> Value {
        guard folder.exists else {
            throw .unreachable("\(folder.path) is no state directory of a witness: name it with `--state`")
        }
        do {
            let lock = try folder.lock()
            defer { lock?.release() }
            return try work(lock)
        } catch let failure as Failure {
            throw failure
        } catch let error as UnixSocketError {
            throw .unreachable("\(error)")
        } catch {
            throw .refused("\(error)")
        }
    }

    private func ask(_ order: WitnessOrder) throws -> WitnessReply {
        let connection = try UnixSocket.connect(folder.socket, to: WitnessControl.owner)
        try UnixSocket.write(try JSON.encode(order) + [UInt8(ascii: "\n")], to: connection, patience: .seconds(5))
        guard let line = try UnixSocket.readLine(connection, limit: 64 << 20, patience: .seconds(15)) else {
            throw Failure.unreachable("the witness ended the connection without an answer: look at its log")
        }
        return try JSON.decode(WitnessReply.self, from: line)
    }

    private func read() throws -> WitnessList {
        let pairs = try WitnessGround.pairs(in: folder).sorted { $0.key < $1.key }.map { cluster, found in
            switch found {
            case .good(let file): WitnessList.Pair(file)
            case .damaged(let why): WitnessList.Pair(cluster: cluster, problem: why)
            }
        }
        return WitnessList(running: false, generation: try folder.lastGeneration(), pairs: pairs)
    }
}
