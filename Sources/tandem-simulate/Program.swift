import ArgumentParser
import TandemSimulatorCommand

/// `pgtandem simulate` alone: an optimized build of it takes a minute, that of the whole program many (BoringSSL). For developers and CI.
@main
struct Program {
    static func main() { SimulateCommand.main() }
}
