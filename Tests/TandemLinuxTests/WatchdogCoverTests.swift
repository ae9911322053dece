import Testing

@testable import TandemLinux

/// What `status` says of the hardware watchdog (3.2): m + W + 1 s <= L, or the reset comes too late.
@Suite struct WatchdogCoverTests {
    private func cover(
        _ device: String?, fed: Bool = true, armed: Bool = true, lease: Duration, margin: Duration = .milliseconds(300)
    )
        -> WatchdogCover
    {
        WatchdogCover(device: device, isFed: fed, isArmed: armed, margin: margin, lease: lease)
    }

    @Test func onlyARelaxedLeaseIsCovered() {
        let relaxed = cover("/dev/watchdog", lease: .seconds(10))
        #expect(relaxed.word == "in_time" && relaxed.gap == nil)
        #expect(cover("/dev/watchdog", lease: .milliseconds(2300)).word == "in_time", "0.3 + 1 + 1")
        for lease: Duration in [.milliseconds(2299), .seconds(2), .milliseconds(400)] {
            let late = cover("/dev/watchdog", lease: lease)
            #expect(late.word == "late")
            #expect(late.gap?.contains("A lease of at least 2300 ms ends that") == true, "\(late.gap ?? "nothing")")
        }
    }

    @Test func withoutADeviceTheGapIsNamed() {
        let none = cover(nil, fed: false, lease: .seconds(10))
        #expect(none.word == "none")
        let gap = none.gap ?? ""
        #expect(gap.contains("agent and guard both stand still") && gap.contains("`watchdog.device`"), "\(gap)")
        #expect(gap.contains("in synchronous mode it can acknowledge none"), "\(gap)")
        #expect(cover(nil, fed: false, armed: false, lease: .seconds(2)).gap == nil, "nothing is lent here")
    }

    @Test func aDeviceThatCannotBeOpenedIsNoCover() {
        let failed = cover("/dev/watchdog", fed: false, lease: .seconds(10))
        #expect(failed.word == "failed")
        #expect(failed.gap?.contains("/dev/watchdog cannot be used, the guard's log says why") == true)
        let unarmed = cover("/dev/watchdog", fed: false, armed: false, lease: .seconds(10))
        #expect(unarmed.word == "in_time" && unarmed.gap == nil, "it is opened with the first arming")
    }
}
