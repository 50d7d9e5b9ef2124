/// Which of JSON Schema's keywords are followed, ignored and refused.
enum SchemaKeywords {
    /// Keywords that would change what a document may be, and that a grammar cannot express or does not.
    static let unsupported: Set<String> = [
        "not", "if", "then", "else", "dependentSchemas", "dependentRequired", "dependencies",
        "patternProperties", "propertyNames", "minProperties", "maxProperties", "contains",
        "minContains", "maxContains", "multipleOf", "unevaluatedItems", "additionalItems",
        "$dynamicRef", "$recursiveRef",
    ]

    /// Keywords that say something about values of one type alone.
    static let typeOfKeyword: [String: String] = [
        "properties": "object", "required": "object", "additionalProperties": "object",
        "unevaluatedProperties": "object", "items": "array", "prefixItems": "array",
        "minItems": "array", "maxItems": "array", "uniqueItems": "array", "minLength": "string",
        "maxLength": "string", "pattern": "string", "format": "string", "minimum": "number",
        "maximum": "number", "exclusiveMinimum": "number", "exclusiveMaximum": "number",
    ]

    /// Keywords that take the place of a type.
    static let combinations = ["$ref", "anyOf", "oneOf", "allOf"]

    /// Expressions for the formats that are held to; others are annotations, as JSON Schema has it.
    static let formats: [String: String] = {
        let date = #"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])"#
        let time =
            #"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,9})?(?:Z|[+\-](?:[01][0-9]|2[0-3]):[0-5][0-9])"#
        let byte = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
        // The last days of a month depend on the month, and February's on the year: RFC 3339, 5.7.
        let longDate =
            #"[0-9]{4}-(?:(?:0[13578]|1[02])-(?:29|30|31)|(?:0[469]|11)-(?:29|30))"#
        return [
            "date": "^(?:\(date)|\(longDate))$", "time": "^\(time)$",
            "date-time": "^(?:\(date)|\(longDate))T\(time)$",
            "uuid": "^[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$",
            "ipv4": #"^\#(byte)(?:\.\#(byte)){3}$"#,
            "email":
                #"^[A-Za-z0-9_+\-]+(?:\.[A-Za-z0-9_+\-]+)*@[A-Za-z0-9]+(?:[.\-][A-Za-z0-9]+)*\.[A-Za-z]{2,24}$"#,
        ]
    }()
}
