import COpenBLAS

/// The library of dense products and factorizations.
public enum OpenBLAS {
    /// Has OpenBLAS compute in the threads that call it, and stops those it started.
    ///
    /// It starts one a core as soon as it is loaded, and they look for work for a tenth of a second: a
    /// program on two cores that computes with threads of its own loses 10 to 40 ms at its start.
    public static let useOneThread: Void = {
        openblas_set_num_threads(1)
        openblas_stop_threads()
    }()
}
