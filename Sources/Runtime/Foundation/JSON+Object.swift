public import OrderedCollections

extension JSON {
    /// The members of a JSON object in the order of its file.
    ///
    /// Keys are told apart by their bytes, as JSON does. Swift's own strings are equal when they are
    /// canonically equivalent, so a dictionary keyed by them would take the two tokens `é` (U+00E9) and
    /// `é` (U+0065 U+0301) of a vocabulary for one.
    public struct Object: Sendable, Equatable {
        private var members: OrderedDictionary<Name, JSON>

        /// Creates an object without members.
        public init() { members = [:] }

        /// Creates an object from keys that are already known to differ.
        public init(_ members: OrderedDictionary<String, JSON>) {
            self.members = OrderedDictionary(minimumCapacity: members.count)
            for (key, value) in members { self[key] = value }
        }

        /// The value at `key`; setting nil removes the member, setting a new key appends it.
        public subscript(key: String) -> JSON? {
            get { members[Name(key)] }
            set { members[Name(key)] = newValue }
        }

        /// The value at `key`, or `fallback` when there is none.
        public subscript(key: String, default fallback: @autoclosure () -> JSON) -> JSON {
            get { self[key] ?? fallback() }
            set { self[key] = newValue }
        }

        /// Sets the value at `key` and returns the one it replaces.
        @discardableResult
        public mutating func updateValue(_ value: JSON, forKey key: String) -> JSON? {
            members.updateValue(value, forKey: Name(key))
        }

        /// Removes the member at `key` and returns its value.
        @discardableResult
        public mutating func removeValue(forKey key: String) -> JSON? {
            members.removeValue(forKey: Name(key))
        }

        /// Makes room for `count` members.
        public mutating func reserveCapacity(_ count: Int) { members.reserveCapacity(count) }

        /// The keys in order.
        public var keys: [String] { members.keys.map(\.text) }

        /// The values in order.
        public var values: [JSON] { Array(members.values) }
    }
}

extension JSON.Object {
    /// A string that equals another only byte by byte.
    private struct Name: Hashable {
        let text: String

        init(_ text: String) { self.text = text }

        static func == (a: Name, b: Name) -> Bool {
            a.text.utf8.count == b.text.utf8.count && a.text.utf8.elementsEqual(b.text.utf8)
        }

        func hash(into hasher: inout Hasher) {
            var text = text
            text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
        }
    }
}

extension JSON.Object: RandomAccessCollection {
    /// The first member's position.
    public var startIndex: Int { 0 }
    /// The position past the last member.
    public var endIndex: Int { members.count }
    /// The member at a position.
    public subscript(position: Int) -> (key: String, value: JSON) {
        let (key, value) = members.elements[position]
        return (key.text, value)
    }
}

extension JSON.Object: ExpressibleByDictionaryLiteral {
    /// Members in order; a repeated key traps.
    public init(dictionaryLiteral elements: (String, JSON)...) {
        members = OrderedDictionary(uniqueKeysWithValues: elements.map { (Name($0.0), $0.1) })
    }
}

extension JSON {
    /// An object from a dictionary whose keys are already known to differ.
    @_disfavoredOverload
    public static func object(_ members: OrderedDictionary<String, JSON>) -> JSON {
        .object(Object(members))
    }
}
