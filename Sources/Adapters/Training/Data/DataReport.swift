import Foundation
public import LorikeetRuntime

/// What became of the rows of a data set, before the first step.
public struct DataReport: Sendable, Equatable {
    /// What was read from a file.
    public struct File: Sendable, Equatable {
        /// The path.
        public var path: String
        /// Rows in it.
        public var rows = 0
        /// Rows that were cut at the maximum length.
        public var truncatedRows = 0
        /// Tokens that were cut off these.
        public var truncatedTokens = 0
        /// Rows left out because none of their tokens is a target.
        public var maskedRows = 0
        /// Rows left out because all their targets are past the maximum length.
        public var cutOffRows = 0
        /// Tokens of the longest row that is not left out, before it was cut.
        public var longestRow = 0

        /// Nothing read yet.
        public init(path: String) { self.path = path }
    }

    /// Rows that are used: to train on, or to validate with.
    public struct Part: Sendable, Equatable {
        /// How many.
        public var rows: Int
        /// Their tokens.
        public var tokens: Int
        /// Tokens that are predicted; the others are masked.
        public var trainedTokens: Int
        /// Tokens of the longest.
        public var longestRow: Int

        /// The counts of `rows`.
        public init(_ rows: any TrainingRows) {
            self.rows = rows.count
            tokens = (0..<rows.count).reduce(0) { $0 + rows.tokenCount(at: $1) }
            trainedTokens = (0..<rows.count).reduce(0) { $0 + rows.targetCount(at: $1) }
            longestRow = rows.longestRow
        }
    }

    /// The steps that follow.
    public struct Steps: Sendable, Equatable {
        /// Steps of the run.
        public var total: Int
        /// Steps of an epoch; a fraction where its last is not full.
        public var perEpoch: Double
        /// The most tokens that go through the model together.
        public var passTokens: Int
        /// Packs that the rows make; nil where they are not packed.
        public var packs: Int?
        /// The part of the packs' room that is taken.
        public var fill: Double?

        /// The steps of a run.
        public init(_ order: BatchOrder) {
            total = order.totalSteps
            perEpoch = order.stepsPerEpoch
            passTokens = order.maximumTokens
            packs = order.packs?.count
            fill = order.packs.map { Double($0.tokens) / Double($0.count * $0.capacity) }
        }
    }

    /// The data file.
    public var file: File
    /// The rows that are trained on.
    public var training: Part
    /// The validation file, where it is one of its own.
    public var validationFile: File?
    /// The rows that are validated with.
    public var validation: Part?
    /// How a part of the rows was set aside: `5 % of the rows, seed 0`.
    public var split: String?
    /// Training rows with the same tokens and targets as a validation row.
    public var duplicates = 0
    /// The steps that follow; nil where none do.
    public var steps: Steps?
}

extension DataReport {
    /// What a person should know, a line each: what is trained on, what is validated with, what follows.
    public var lines: [String] {
        var lines = ["data: " + training.line + file.notes]
        if let validation {
            let origin = split.map { " (\($0))" } ?? ""
            let twins =
                duplicates == 0
                ? "" : "; \(duplicates) training rows are equal to one of these"
            lines.append(
                "validation: " + validation.line + origin + (validationFile?.notes ?? "") + twins)
        }
        if let steps { lines.append("steps: " + steps.line) }
        return lines
    }

    /// Everything.
    public var json: JSON {
        var json: JSON = ["file": file.json, "training": training.json]
        if let validation {
            json["validation"] = validation.json
            json["validation_file"] = validationFile?.json ?? .null
            json["validation_split"] = split.map(JSON.string) ?? .null
            json["duplicates"] = .int(duplicates)
        }
        json["steps"] = steps?.json ?? .null
        return json
    }
}

extension DataReport.File {
    /// What was cut and left out, if anything was.
    fileprivate var notes: String {
        var notes = ""
        if truncatedRows > 0 {
            notes +=
                "; \(truncatedRows) rows were cut at the maximum length, by "
                + "\(truncatedTokens) tokens (the longest row has \(longestRow))"
        }
        if maskedRows > 0 {
            notes += "; \(maskedRows) rows were left out: none of their tokens is a target"
        }
        if cutOffRows > 0 {
            notes += "; \(cutOffRows) rows were left out: their targets are past the maximum length"
        }
        return notes
    }

    fileprivate var json: JSON {
        [
            "path": .string(path), "rows": .int(rows), "truncated_rows": .int(truncatedRows),
            "truncated_tokens": .int(truncatedTokens), "dropped_masked": .int(maskedRows),
            "dropped_cut_off": .int(cutOffRows), "longest_row": .int(longestRow),
        ]
    }
}

extension DataReport.Part {
    fileprivate var line: String {
        "\(rows) rows, \(tokens) tokens (\(trainedTokens) trained, \(tokens - trainedTokens) masked)"
            + ", longest row \(longestRow)"
    }

    fileprivate var json: JSON {
        [
            "rows": .int(rows), "tokens": .int(tokens), "trained_tokens": .int(trainedTokens),
            "masked_tokens": .int(tokens - trainedTokens), "longest_row": .int(longestRow),
        ]
    }
}

extension DataReport.Steps {
    fileprivate var line: String {
        let packing =
            if let packs, let fill {
                String(format: "; %d packs, %.0f %% full", packs, 100 * fill)
            } else { "" }
        return String(format: "%d (an epoch has %.5g)", total, perEpoch)
            + ", at most \(passTokens) tokens a pass" + packing
    }

    fileprivate var json: JSON {
        [
            "total": .int(total), "per_epoch": .double(perEpoch), "pass_tokens": .int(passTokens),
            "packs": packs.map(JSON.int) ?? .null, "packs_filled": fill.map(JSON.double) ?? .null,
        ]
    }
}
