import COpenBLAS
import CTiles
import Glibc

/// The kernels that OpenBLAS multiplies with.
///
/// It knows CPUs by their numbers, and takes kernels for SSE3 where it does not know one: version 0.3.21 on Emerald Rapids, where
/// those for AVX-512 are four to five times as fast.
public enum OpenBLASKernels {
    /// Their name. When it is first asked for, before any product, kernels too old for this CPU are exchanged, unless
    /// `OPENBLAS_CORETYPE` says which to take.
    static let name: String = {
        if getenv(variable) == nil,
            let better = better(than: current, level: Int(lockstep_cpu_isa_level()))
        {
            exchange(for: better)
        }
        return current
    }()

    private static let variable = "OPENBLAS_CORETYPE"

    /// What the library uses now.
    public static var current: String { String(cString: openblas_get_corename()) }

    /// Kernels for the vectors of a CPU of x86-64 level `level`, where `chosen` are for narrower ones; nil where they are not.
    public static func better(than chosen: String, level: Int) -> String? {
        let withoutFMA = [
            "Katmai", "Coppermine", "Northwood", "Prescott", "Banias", "Atom", "Core2", "Penryn",
            "Dunnington", "Nehalem", "Sandybridge", "Athlon", "Opteron", "Opteron_SSE3", "Barcelona",
            "Bobcat", "Nano",
        ]
        guard withoutFMA.contains(where: { $0.lowercased() == chosen.lowercased() }) else { return nil }
        switch level {
        case 4: return "SkylakeX"
        case 3: return "Haswell"
        default: return nil
        }
    }

    /// Has the library choose again, as if `OPENBLAS_CORETYPE` were `kernels`; not while it multiplies. Returns whether it now has
    /// them: a build for one kind of CPU, another library, or one that has none of this name keeps what it had.
    @discardableResult
    public static func exchange(for kernels: String) -> Bool {
        // Of builds with DYNAMIC_ARCH (driver/others/dynamic.c); not in the header.
        typealias Function = @convention(c) () -> Void
        guard let program = dlopen(nil, RTLD_LAZY) else { return false }
        defer { dlclose(program) }
        guard let forget = dlsym(program, "gotoblas_dynamic_quit"),
            let choose = dlsym(program, "gotoblas_dynamic_init")
        else { return false }
        let (environment, before) = (getenv(variable).map { String(cString: $0) }, current)
        func take(_ name: String) {
            setenv(variable, name, 1)
            unsafeBitCast(forget, to: Function.self)()
            unsafeBitCast(choose, to: Function.self)()
        }
        take(kernels)
        let found = current.lowercased() == kernels.lowercased()
        if !found { take(before) }
        if let environment { setenv(variable, environment, 1) } else { unsetenv(variable) }
        return found
    }
}
