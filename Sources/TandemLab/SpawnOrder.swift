import CLinux
import Glibc

/// cl_spawn with Swift's strings.
enum SpawnOrder {
    static func spawn(
        _ arguments: [String], environment: [String: String], input: Int32, output: Int32,
        errors: Int32, pid: inout pid_t
    ) -> Int32 {
        withCStrings(arguments) { arguments in
            withCStrings(environment.map { "\($0.key)=\($0.value)" }.sorted()) { environment in
                var order = cl_spawn_order(
                    path: arguments[0], arguments: arguments, environment: environment, input: input,
                    output: output,
                    errors: errors)
                return cl_spawn(&order, &pid)
            }
        }
    }

    /// A NULL-terminated array as execve(2) wants it.
    static func withCStrings<Value>(
        _ texts: [String], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> Value
    ) -> Value {
        var pointers: [UnsafeMutablePointer<CChar>?] = texts.map { strdup($0) }
        pointers.append(nil)
        defer { for pointer in pointers { free(pointer) } }
        return pointers.withUnsafeBufferPointer { buffer in
            // Never empty: the end mark is in it.
            guard let base = buffer.baseAddress else {
                preconditionFailure("an array with an end mark has a base")
            }
            return body(base)
        }
    }
}
