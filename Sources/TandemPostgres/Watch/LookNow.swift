import TandemCore
import TandemSystem

extension Watch {
    /// What is so now: looked at after this call began. After an order was carried out, nothing older may be believed.
    /// - Returns: what is known at the deadline if a look hangs (a dead disk).
    public func lookNow(upTo patience: Duration = .milliseconds(500)) -> LocalPostgres {
        let asked = SystemClock.now()
        do {
            let done = try Bell()
            // One lane: a look that is under way ends first, and this one begins after it.
            looks.submit {
                self.state.withLock { $0.lookBegun = $0.lookBegun ?? SystemClock.now() }
                self.look()
                done.ring()
            }
            done.wait(upTo: patience)
        } catch {
            // No descriptor for a bell: the next regular look tells it.
            poke()
        }
        return state.withLock { state in
            state.wasActedOn()
            let now = SystemClock.now()
            var view = state.view(now, patience: self.patience.answer, newSessionPatience: self.patience.newSessionAnswer)
            // What was answered before the call says nothing about after it.
            if state.postmaster != nil, view.isRunning, state.lastAnswer < asked {
                view.condition = .silent(.nanoseconds(now - state.lastAnswer))
            }
            return view
        }
    }
}
