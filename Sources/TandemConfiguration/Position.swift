import Yams

/// A place in a text: line and column from 1, columns counted in Unicode scalars.
struct Position: Hashable {
    var line: Int
    var column: Int

    init(line: Int, column: Int) {
        self.line = line
        self.column = column
    }

    init(_ mark: Mark) { self.init(line: mark.line, column: mark.column) }
}

extension Yams.Node {
    var position: Position? { mark.map(Position.init) }
}
