/// What a SentencePiece `.model` file holds (sentencepiece_model.proto), checked.
struct SentencePieceModel {
    /// How texts are cut.
    enum Kind: Int {
        case unigram = 1
        case bytePairs = 2
        case words = 3
        case characters = 4
    }

    /// What a piece is for.
    enum PieceType: Int {
        case normal = 1
        case unknown = 2
        case control = 3
        case userDefined = 4
        case unused = 5
        case byte = 6
    }

    let source: String
    /// The pieces' texts; a piece's place is its id.
    private(set) var texts = TextList()
    /// Log probabilities, or for byte pairs minus the rank of what is merged first.
    private(set) var scores: [Float] = []
    private(set) var types: [PieceType] = []
    private(set) var kind = Kind.unigram
    private(set) var fallsBackToBytes = false
    private(set) var beginningPiece = "<s>"
    private(set) var endPiece = "</s>"
    private(set) var charsmap: [UInt8] = []
    private(set) var addsPrefix = true
    private(set) var removesExtraSpaces = true
    private(set) var escapesSpaces = true
    /// The id of the one unknown piece.
    private(set) var unknown: Int32 = 0
    private var putsSpaceBehind = false

    /// Reads a model file; `source` is its path.
    ///
    /// - Throws: `.malformed` for what breaks the format, `.unsupported` for a kind that is not read.
    init(parsing bytes: UnsafeRawBufferPointer, source: String) throws {
        self.source = source
        guard bytes.count <= Int(Int32.max) else {
            throw LorikeetError(.unsupported, source, "more than 2 GiB of pieces")
        }
        var reader = ProtobufReader(bytes, at: 0, message: "ModelProto", source: source)
        while let field = try reader.next() {
            switch field.number {
            case 1: try readPiece(field.reader("pieces[\(types.count)]"))
            case 2: try readTrainer(field.reader("trainer_spec"))
            case 3: try readNormalizer(field.reader("normalizer_spec"))
            default: break
            }
        }
        try requireSound()
    }

    private mutating func readPiece(_ reader: ProtobufReader) throws {
        var reader = reader
        var text = ""
        var score: Float = 0
        var type = PieceType.normal
        while let field = try reader.next() {
            switch field.number {
            case 1: text = try field.string("piece")
            case 2: score = try field.float("score")
            case 3:
                let number = try field.integer("type")
                guard let known = PieceType(rawValue: number) else {
                    throw malformed("pieces[\(types.count)].type", "an unknown type", "\(number)")
                }
                type = known
            default: break
            }
        }
        guard !text.isEmpty else { throw malformed("pieces[\(types.count)]", "an empty piece") }
        texts.append { $0 += text.utf8 }
        scores.append(score)
        types.append(type)
    }

    private mutating func readTrainer(_ reader: ProtobufReader) throws {
        var reader = reader
        while let field = try reader.next() {
            switch field.number {
            case 3:
                let number = try field.integer("model_type")
                guard let kind = Kind(rawValue: number) else {
                    throw malformed("trainer_spec.model_type", "an unknown kind", "\(number)")
                }
                self.kind = kind
            case 24: putsSpaceBehind = try field.bool("treat_whitespace_as_suffix")
            case 35: fallsBackToBytes = try field.bool("byte_fallback")
            case 46: beginningPiece = try field.string("bos_piece")
            case 47: endPiece = try field.string("eos_piece")
            default: break
            }
        }
    }

    private mutating func readNormalizer(_ reader: ProtobufReader) throws {
        var reader = reader
        while let field = try reader.next() {
            switch field.number {
            case 2: charsmap = Array(try field.bytes("precompiled_charsmap"))
            case 3: addsPrefix = try field.bool("add_dummy_prefix")
            case 4: removesExtraSpaces = try field.bool("remove_extra_whitespaces")
            case 5: escapesSpaces = try field.bool("escape_whitespaces")
            default: break
            }
        }
    }

    private mutating func requireSound() throws {
        guard !types.isEmpty else {
            throw malformed("pieces", "a SentencePiece model without pieces")
        }
        let unknowns = types.indices.filter { types[$0] == .unknown }
        guard unknowns.count == 1 else {
            throw malformed("pieces", "not one unknown piece", "\(unknowns.count)")
        }
        unknown = Int32(unknowns[0])
        func unsupported(_ key: String, _ problem: String, _ got: String) -> LorikeetError {
            LorikeetError(.unsupported, source, "\(key): \(problem)", got: got)
        }
        if kind == .words {
            throw unsupported("trainer_spec.model_type", "a vocabulary of whole words", "WORD")
        }
        if putsSpaceBehind {
            throw unsupported(
                "trainer_spec.treat_whitespace_as_suffix", "spaces that end words", "true")
        }
        if kind != .unigram, let index = types.firstIndex(of: .unused) {
            throw unsupported(
                "pieces[\(index)].type", "an unused piece of byte pairs", "UNUSED")
        }
    }

    /// The file's charsmap; nil if it has none.
    func characterMap() throws -> CharacterMap? {
        guard !charsmap.isEmpty else { return nil }
        return try CharacterMap(charsmap) {
            LorikeetError(
                .malformed, source, "normalizer_spec.precompiled_charsmap: \($0)", expected: $1,
                got: $2)
        }
    }

    /// The bytes of a piece.
    subscript(id: Int) -> ArraySlice<UInt8> { texts.heap[texts[id]] }

    private func malformed(_ key: String, _ problem: String, _ got: String? = nil) -> LorikeetError
    {
        LorikeetError(
            .malformed, source, "\(key): \(problem)", got: got,
            advice: "The file may be truncated or no SentencePiece model; get it again.")
    }
}
