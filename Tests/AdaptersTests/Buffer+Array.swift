import LorikeetQuant

extension Buffer {
    /// A copy of the elements; keeps the buffer alive while it is made.
    var array: [Element] { withExtendedLifetime(self) { Array(elements) } }
}
