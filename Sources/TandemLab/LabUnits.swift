import TandemSystem

/// Unit files whose services a real systemd keeps on a machine of the lab, in place of the lab's own service manager.
///
/// It is process 1 of process numbers, mounts and control groups of its own inside the machine, as in a container. It is started and ended as
/// the machine's one service; what its services say stands in that one's log.
public struct LabUnits: Sendable {
    /// By name; the packaged text, but for the place of the program.
    private let texts: [String: String]
    /// Users that the units want and this machine does not have.
    private let users: [String]

    public static let systemd = "/lib/systemd/systemd"

    private static let folder = "/etc/pgtandem/units"

    /// - Parameter texts: by name, as they are packaged; all of them are enabled.
    public init(_ texts: [String: String], users: [String] = []) {
        self.texts = texts.mapValues { $0.replacing("=/usr/bin/pgtandem ", with: "=\(LabHost.programPath) ") }
        self.users = users
    }

    /// What the machine's service runs.
    var command: [String] { ["/bin/sh", "\(LabUnits.folder)/start"] }

    /// For the machine's disk.
    var files: [String: HostFile] {
        var files = [
            "\(LabUnits.folder)/start": HostFile(LabUnits.start), "\(LabUnits.folder)/boot": HostFile(boot),
        ]
        for (name, text) in texts { files["\(LabUnits.folder)/\(name)"] = HostFile(text) }
        return files
    }

    /// Its words are the lab's service's words.
    private static let start = """
        touch /run/services.log
        tail -n +1 -F /run/services.log 2>/dev/null &
        exec unshare --pid --mount --cgroup --fork --kill-child --mount-proc /bin/sh \(folder)/boot

        """

    /// The targets are systemd's own; a machine of the lab needs nothing of what else a distribution starts.
    private var boot: String {
        """
        set -e
        mount --make-rprivate /
        # Settings of the kernel belong to the machine that the lab runs on.
        mount --bind /proc/sys /proc/sys
        mount -o remount,ro,bind /proc/sys
        mount --bind /run/boot_id /proc/sys/kernel/random/boot_id
        # Private folders of services (`PrivateTmp`) go with the machine.
        mount -t tmpfs tmpfs /var/tmp
        units=/run/units
        mkdir -p $units/multi-user.target.wants $units/service.d /run/systemd/system
        for target in sysinit basic multi-user shutdown umount final exit network network-online remote-fs local-fs slices sockets timers paths; do
            cp /lib/systemd/system/$target.target $units/
        done
        cp /lib/systemd/system/systemd-exit.service $units/
        printf '[Service]\\nStandardOutput=append:/run/services.log\\nStandardError=inherit\\n' > $units/service.d/log.conf
        for unit in \(texts.keys.sorted().joined(separator: " ")); do
            cp \(LabUnits.folder)/$unit $units/
            ln -s ../$unit $units/multi-user.target.wants/
        done
        number=64000
        for user in \(users.joined(separator: " ")); do
            for file in passwd group; do
                cp /etc/$file /run/$file
                echo "$user:x:$number:$([ $file = group ] || echo $number::/:/usr/sbin/nologin)" >> /run/$file
                mount --bind /run/$file /etc/$file
            done
            chown -R $user:$user /etc/$user
            number=$((number + 1))
        done
        # Only this hierarchy: in those of version 1 its groups would be beside the lab's.
        mount -t cgroup2 cgroup2 /sys/fs/cgroup
        export container=lab SYSTEMD_UNIT_PATH=$units
        exec \(LabUnits.systemd) --system --unit=multi-user.target --show-status=no

        """
    }
}

extension LabHost {
    /// `systemctl` on a host that has units.
    /// - Throws: if it fails.
    @discardableResult public func systemctl(
        _ arguments: [String], within deadline: Duration = .seconds(60)
    ) throws(LabError) -> String {
        try insideSystemd(["systemctl"] + arguments, within: deadline)
    }

    /// A command where the host's systemd is process 1.
    /// - Throws: if it fails.
    @discardableResult public func insideSystemd(
        _ arguments: [String], within deadline: Duration = .seconds(60)
    ) throws(LabError) -> String {
        let enter = ["/bin/sh", "-c", "exec nsenter -t \"$(pgrep -o -x systemd)\" -a \"$@\"", "sh"]
        return try demand(enter + arguments, deadline: deadline).split(whereSeparator: \.isNewline).joined(separator: "\n")
    }
}
