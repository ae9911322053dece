/// Mistakes that were made in drafts of the specification (section 10), and orders of section 4 turned around, put back on purpose: the
/// simulator must find each of them. Nothing that reaches an agent sets this switch; only the simulator does (`pgtandem simulate --mistakes`).
package enum Flaw: String, CaseIterable, Sendable, Codable {
    // Section 10, by number.
    case grantUsedLate  // 1
    case noStep  // 2
    case lateRecordOverwrites  // 3
    case claimAfterHandover  // 4
    case wordFromBeforeBoot  // 8
    case otherCopyAdopts  // 9
    case acknowledgesWithoutLedger  // 10
    case acknowledgementFromBeforeReboot  // 11
    case leaseFromReceipt  // 12
    case promiseForgotten  // 13
    case emptyWitnessGrants  // 14
    case pairedBeforeNames  // 15
    case guardArmedAfterPaired  // 16
    case guardReleasedBeforeSole  // 16
    case deadPostgresRenews  // 17
    case handoverEndForgotten  // 18
    case frameUnderPaired  // 19
    case soleNeverReconciled  // 20
    case pauseBesideTheStep  // 21
    case recordRewrittenInSameTerm  // 22
    case arbiterChangedInSameTerm  // 23
    case wordInsteadOfGrant  // 24
    case soleFromBeforeTheLoss  // 25
    // Orders of section 4, and clocks of section 3.
    case namesEmptiedBeforeSole  // 4.1, 2 and 3
    case soleBeforeConsent  // 4.1, 1 and 2
    case promotedBeforeLedger  // 4.3
    case handoverBeforeEnd  // 4.4, 2 and 3
    case handoverWithoutEnd  // 4.4, 3
    case promotedBeforeWAL  // 4.4, 4
    case openedBeforeConfirmed  // 5.3
    case witnessForgetsPromise  // 3.1
    case leaseOnOneClock  // 3.1
    case streamsUncompared  // 9
    case foreignTakesOver  // 4.4, 9
    case followsUntaken  // 4.4, 9
}
