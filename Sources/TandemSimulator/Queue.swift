/// What will happen, by time; what was put in first comes first among equals.
struct Queue {
    private struct Key {
        var at: Int64
        var order: UInt64
        var place: Int
    }
    private var heap: [Key] = []
    private var count: UInt64 = 0
    /// What the keys stand for: too large to be moved about in the heap.
    private var places: [Happening?] = []
    private var free: [Int] = []

    var next: Int64? { heap.first?.at }

    mutating func put(_ what: Happening, at time: Int64) {
        count += 1
        let place: Int
        if let last = free.popLast() {
            place = last
            places[place] = what
        } else {
            place = places.count
            places.append(what)
        }
        heap.append(Key(at: time, order: count, place: place))
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard precedes(heap[child], heap[parent]) else { break }
            heap.swapAt(child, parent)
            child = parent
        }
    }

    mutating func take() -> (at: Int64, what: Happening)? {
        guard let first = pop() else { return nil }
        let what = places[first.place].take()
        free.append(first.place)
        return what.map { (first.at, $0) }
    }

    private mutating func pop() -> Key? {
        guard let first = heap.first, let last = heap.popLast() else { return nil }
        guard !heap.isEmpty else { return first }
        heap[0] = last
        var parent = 0
        while true {
            let left = 2 * parent + 1
            guard left < heap.count else { return first }
            let right = left + 1
            let least = right < heap.count && precedes(heap[right], heap[left]) ? right : left
            guard precedes(heap[least], heap[parent]) else { return first }
            heap.swapAt(parent, least)
            parent = least
        }
    }

    private func precedes(_ a: Key, _ b: Key) -> Bool { a.at < b.at || a.at == b.at && a.order < b.order }
}
