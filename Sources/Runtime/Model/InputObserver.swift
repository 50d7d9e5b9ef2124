/// Sees what linear layers read in a forward pass: the layers that share an input X [count, width], and X,
/// which is there during the call only.
public typealias InputObserver = (
    _ layers: [ModulePath], _ x: UnsafePointer<Float>, _ count: Int, _ width: Int
) -> Void
