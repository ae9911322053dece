import TandemConfiguration
import TandemCore
import TandemPostgres
import TandemSystem

extension Configuration {
    /// Where PostgreSQL is on this host.
    var instance: InstanceSettings {
        InstanceSettings(
            binDirectory: postgresql.binDirectory, dataDirectory: postgresql.dataDirectory,
            configFile: origin(of: "postgresql.config_file") == .byDefault ? nil : postgresql.configFile,
            hbaFile: origin(of: "postgresql.hba_file") == .byDefault ? nil : postgresql.hbaFile, port: postgresql.port,
            socketDirectory: postgresql.socketDirectory, superuser: postgresql.superuser, database: postgresql.database,
            osUser: postgresql.osUser, stateDirectory: stateDirectory, logFile: serverLog)
    }

    /// Where Debian's own tools write it, so that what rotates and reads it there goes on; else beside our state.
    private var serverLog: String {
        guard let cluster = DebianCluster(configFile: postgresql.configFile) else { return stateDirectory + "/postgresql.log" }
        return "/var/log/postgresql/postgresql-\(cluster.major)-\(cluster.name).log"
    }

    /// Both hosts and the virtual addresses: whoever is primary, the other one must get in.
    var hbaBlock: HBABlock {
        HBABlock(
            user: replication.user, database: postgresql.database,
            addresses: nodes.flatMap { $0.addresses.map(\.description) }
                + (virtualAddresses.primary + virtualAddresses.standby).map(\.address.description))
    }

    /// 4.5: at most a quarter of the file system that holds `pg_wal`, and never more than 16 GiB; beyond, an absent standby comes back by a
    /// new copy.
    private var slotKeepMegabytes: Int {
        let most = 16 << 10
        do throws(SystemError) {
            let total = try FileFacts.space(onFileSystemOf: postgresql.dataDirectory + "/pg_wal").totalBytes
            return max(64, min(most, Int(clamping: total >> 22)))
        } catch {
            // Not there yet (`init`, `join`): written again when the agent runs.
            return most
        }
    }

    /// The include file for these settings: the peer is the source of WAL whenever this node is a standby.
    func managed(_ settings: Settings, keeping kept: KeptSettings) -> ManagedSettings {
        let source = ManagedSettings.Peer(
            address: peer.addresses[0].description, port: postgresql.port, user: replication.user, passFile: instance.passFile,
            slot: settings.copy?.applicationName)
        return ManagedSettings(
            cluster: cluster, node: node, port: postgresql.port, ownCopy: settings.copy, peer: source,
            synchronousStandby: settings.synchronous, slotKeepMegabytes: slotKeepMegabytes, walLevel: kept.walLevel,
            walSenders: kept.walSenders, replicationSlots: kept.replicationSlots)
    }
}
