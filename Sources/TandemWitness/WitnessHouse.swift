import Logging
import NIOCore
import TandemCore
import TandemNetwork
import TandemSystem
import TandemWire

/// All pairs of a witness, on its loop: who comes is led to the desk of its pair.
final class WitnessHouse: LinkService {
    let loop: any EventLoop
    let generation: UInt64
    let log: Logger
    private let program: String
    private let boot: String
    private let folder: WitnessFolder
    private let lanes: [Lane]
    private var desks: [String: PairDesk] = [:]
    private var told: [String: Int64] = [:]

    /// So often the same complaint about the same pair.
    private static let complaint = Duration.seconds(10)

    init(_ ground: WitnessGround, loop: any EventLoop) {
        self.loop = loop
        generation = ground.generation
        log = ground.log
        program = ground.program
        boot = ground.boot
        folder = ground.folder
        lanes = ground.lanes
        for (cluster, found) in ground.pairs {
            switch found {
            case .good(let file): desks[cluster] = PairDesk(cluster, file, self)
            case .damaged(let why):
                log.error(
                    "the file of a pair is damaged, it gets no answers",
                    metadata: [
                        "cluster": "\(cluster)", "reason": "\(why)",
                        "advice": "pgtandem witness forget \(cluster): its nodes then write the record anew by themselves",
                    ])
                desks[cluster] = PairDesk(cluster, problem: why, self)
            }
        }
    }

    private func desk(of cluster: String) -> PairDesk {
        if let desk = desks[cluster] { return desk }
        let desk = PairDesk(cluster, nil, self)
        desks[cluster] = desk
        return desk
    }

    // MARK: LinkService

    func hello(for guest: LinkGuest) -> [UInt8] {
        let desk = desk(of: guest.cluster)
        desk.entered(guest)
        let hello = HelloDocument(
            program: program, cluster: guest.cluster, node: TLSName.witness, session: desk.session.number, boot: boot, digest: "",
            configuration: [:])
        do {
            return try JSON.encode(hello)
        } catch {
            tell(.error, "a hello cannot be written", ["cluster": guest.cluster, "reason": "\(error)"])
            return []
        }
    }

    func refusal(of hello: [UInt8], from guest: LinkGuest) -> String? {
        guard let note = judge(hello, guest) else { return nil }
        // Our hello was the first word, so this is what the other side hears last.
        do {
            guest.send(FrameKind.witnessRefusal, try JSON.encode(NoteDocument(note)))
        } catch {
            tell(.error, "a refusal cannot be written", ["cluster": guest.cluster, "reason": "\(error)"])
        }
        return note.text
    }

    private func judge(_ payload: [UInt8], _ guest: LinkGuest) -> RefusalNote? {
        let hello: HelloDocument
        do {
            hello = try JSON.decode(HelloDocument.self, from: payload)
        } catch {
            return RefusalNote(code: "notUnderstood", text: "the hello cannot be understood: \(error)")
        }
        guard hello.versions.contains(where: HelloDocument.spoken.contains) else {
            return RefusalNote(
                code: "version",
                text:
                    "node \(guest.node) speaks the versions \(hello.versions) of the link, the witness \(HelloDocument.spoken): upgrade the older one"
            )
        }
        guard hello.cluster == guest.cluster, hello.node == guest.node else {
            return RefusalNote(
                code: "otherName",
                text:
                    "the hello is of node \(hello.node) of \(hello.cluster), the certificate of node \(guest.node) of \(guest.cluster): correct `node` "
                    + "and `cluster` there")
        }
        guard hello.session != 0 else { return RefusalNote(code: "noAgent", text: "only agents talk to the witness") }
        return desk(of: guest.cluster).refusal(of: hello, from: guest)
    }

    func received(_ kind: UInt8, _ payload: [UInt8], from guest: LinkGuest) {
        // Kinds of a newer version are not for us.
        guard kind == FrameKind.witnessRequest else { return }
        desks[guest.cluster]?.received(payload, from: guest)
    }

    func left(_ guest: LinkGuest, _ end: LinkEnd) {
        guard let desk = desks[guest.cluster] else { return }
        desk.left(guest)
        log.debug(
            "a node left",
            metadata: ["cluster": "\(guest.cluster)", "node": "\(guest.node)", "address": "\(guest.remote)", "reason": "\(end)"])
        if desk.isEmpty { desks[guest.cluster] = nil }
    }

    // MARK: the disk

    /// Always the same lane for one pair, so that its writes keep their order.
    private func lane(of cluster: String) -> Lane {
        lanes[Int(cluster.utf8.reduce(5381 as UInt64) { $0 &* 33 &+ UInt64($1) } % UInt64(lanes.count))]
    }

    func write(_ file: PairFile, _ isInDoubt: Bool, _ then: @escaping (WitnessFolder.Outcome) -> Void) {
        onLane(of: file.cluster, { [folder] in folder.write(file) }, then)
    }

    func remove(_ cluster: String, _ then: @escaping (String?) -> Void) {
        onLane(
            of: cluster,
            { [folder] in
                do {
                    try folder.remove(cluster)
                    return nil
                } catch {
                    return "\(error)"
                }
            }, then)
    }

    private func onLane<Value: Sendable>(
        of cluster: String, _ work: @escaping @Sendable () -> Value, _ then: @escaping (Value) -> Void
    ) {
        let then = NIOLoopBound(then, eventLoop: loop)
        let loop = loop
        lane(of: cluster).submit {
            let value = work()
            loop.execute { then.value(value) }
        }
    }

    // MARK: for people

    /// The same complaint about the same pair once in ten seconds. `ends`: only if that complaint was told before.
    func tell(_ level: Logger.Level, _ message: String, _ facts: [String: String], ends complaint: String? = nil) {
        let pair = facts["cluster"] ?? ""
        let metadata = Logger.Metadata(uniqueKeysWithValues: facts.map { ($0.key, "\($0.value)") })
        if let complaint {
            let ended = told.keys.filter { $0.hasPrefix("\(pair)/\(complaint)") }
            guard !ended.isEmpty else { return }
            for key in ended { told[key] = nil }
            return log.log(level: level, "\(message)", metadata: metadata)
        }
        let key = "\(pair)/\(message)"
        let now = SystemClock.now()
        if let last = told[key], now - last < Self.complaint.nanoseconds { return }
        told[key] = now
        log.log(level: level, "\(message)", metadata: metadata)
    }

    var list: WitnessList {
        WitnessList(running: true, generation: generation, pairs: desks.sorted { $0.key < $1.key }.map(\.value.facts))
    }

    /// Answers with what is wrong, or nil.
    func forget(_ cluster: String, _ then: @escaping (String?) -> Void) {
        guard let desk = desks[cluster] else {
            let known = desks.isEmpty ? "none" : desks.keys.sorted().prefix(20).joined(separator: ", ")
            return then("the witness knows no pair `\(cluster)` (it knows: \(known))")
        }
        desk.forget { [self] problem in
            if problem == nil, desks[cluster] === desk { desks[cluster] = nil }
            log.log(
                level: problem == nil ? .warning : .error,
                problem == nil ? "a pair was forgotten" : "a pair could not be forgotten",
                metadata: ["cluster": "\(cluster)", "reason": "\(problem ?? "a person's order")"])
            then(problem)
        }
    }
}

/// What a house stands on: read from the disk before it opens.
struct WitnessGround: Sendable {
    enum Found: Sendable {
        case good(PairFile)
        case damaged(String)
    }

    var folder: WitnessFolder
    var generation: UInt64
    var pairs: [String: Found]
    var lanes: [Lane]
    var program: String
    var boot: String
    var log: Logger

    static func pairs(in folder: WitnessFolder) throws(WitnessError) -> [String: Found] {
        var found: [String: Found] = [:]
        for cluster in try folder.clusters() {
            do {
                found[cluster] = try folder.pair(cluster).map { .good($0) }
            } catch {
                found[cluster] = .damaged("\(error)")
            }
        }
        return found
    }
}
