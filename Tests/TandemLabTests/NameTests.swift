import Testing

@testable import TandemLab

@Test("A lab's name tells its owner, and other names are left alone")
func namesTellTheirOwner() throws {
    let name = LabName.make()
    #expect(LabName(in: "\(name)") == name)
    #expect(LabName(in: "\(name)-switch") == name)
    #expect(name.ownerIsAlive && name.isOurs)
    #expect(LabName(in: "other-1-2-3") == nil)
    #expect(LabName(in: "pgtandemlab-x-2-3") == nil)
}

@Test("PostgreSQL's processes are known by their titles, with and without a cluster name")
func titlesTellTheKind() {
    #expect(LabHost.kind(of: "/usr/lib/postgresql/15/bin/postgres -D /var/lib/postgresql/15/main") == .postmaster)
    #expect(LabHost.kind(of: "postgres: orders/a: walreceiver streaming 0/3000148") == .walreceiver)
    #expect(LabHost.kind(of: "postgres: walsender pgtandem_replication 10.77.0.12(41234) streaming 0/3000148") == .walsender)
    #expect(LabHost.kind(of: "postgres: orders/a: postgres postgres 10.77.0.50(5000) idle") == .backend)
    #expect(LabHost.kind(of: "postgres: orders/a: autovacuum launcher ") == nil)
    #expect(LabHost.kind(of: "/usr/bin/pgtandem run") == nil)
}
