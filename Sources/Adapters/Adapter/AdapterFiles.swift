import Foundation
import LorikeetQuant
import LorikeetRuntime
import OrderedCollections

/// The two files that PEFT knows of an adapter, wherever they come from, and what its head judges.
struct AdapterFiles {
    static let configurationName = "adapter_config.json"
    static let factorsName = "adapter_model.safetensors"

    /// adapter_config.json, byte for byte.
    var configuration: [UInt8]
    /// The content of adapter_model.safetensors.
    var factors: FactorFile
    /// What task.json or a bundle's manifest says of a head's outputs; nil where nobody said.
    var task: SequenceTask?
    /// The folder or bundle, for errors.
    var source: String

    /// The files of a PEFT folder.
    ///
    /// - Throws: `.notFound` for a missing file, `.unsupported` when the factors are a pickle or the files
    ///   larger than `maximumBytes`, `.malformed` for a task.json that tells no task.
    init(folder: String, maximumBytes: Int) throws {
        source = folder
        let files = FileManager.default
        let factorsPath = folder + "/" + Self.factorsName
        if !files.fileExists(atPath: factorsPath),
            files.fileExists(atPath: folder + "/adapter_model.bin")
        {
            throw LorikeetError(
                .unsupported, folder + "/adapter_model.bin",
                "a pickle, which can run code when it is read",
                expected: Self.factorsName,
                advice: "Save the adapter again with PEFT (safe_serialization=True).")
        }
        let json = try MappedFile(path: folder + "/" + Self.configurationName)
        let file = try MappedFile(path: factorsPath)
        guard json.bytes.count <= maximumBytes - min(file.bytes.count, maximumBytes) else {
            throw LorikeetError(
                .unsupported, folder, "the adapter is too large",
                expected: "at most \(maximumBytes) bytes",
                got: "\(json.bytes.count) + \(file.bytes.count)")
        }
        configuration = withExtendedLifetime(json) { Array(json.bytes) }
        factors = try FactorFile(bytes: file.bytes, owner: file, source: factorsPath)
        task = try SequenceTask(besideAdapterIn: folder)
    }

    init(
        configuration: [UInt8], factors: FactorFile, task: SequenceTask?, source: String
    ) {
        self.configuration = configuration
        self.factors = factors
        self.task = task
        self.source = source
    }

    /// The files of an adapter, its factors stored as `type`.
    ///
    /// Names and order are PEFT's: `base_model.model.model.layers.0.mlp.down_proj.lora_A.weight`, by name.
    ///
    /// - Throws: `.invalidArgument` when a factor is not finite in `type`.
    init(
        configuration: AdapterConfiguration, deltas: [ModulePath: LowRankDelta],
        magnitudes: [ModulePath: Buffer<Float>], saved: [String: SavedTensor] = [:],
        task: SequenceTask? = nil, type: FactorType, source: String
    ) throws {
        var tensors = saved.map {
            (name: "base_model.model.\($0.key)", shape: $0.value.shape, values: $0.value.values)
        }
        for (path, delta) in deltas {
            let name = "base_model.model.\(path)"
            let (rank, a, b) = (delta.rank, delta.a, delta.b)
            tensors.append(("\(name).lora_A.weight", [rank, a.count / rank], a))
            tensors.append(("\(name).lora_B.weight", [b.count / rank, rank], b))
        }
        // PEFT leaves out the `.weight` here, as its first DoRA did.
        for (path, values) in magnitudes {
            tensors.append(
                ("base_model.model.\(path).lora_magnitude_vector", [values.count], values))
        }
        tensors.sort { $0.name < $1.name }
        for tensor in tensors where !tensor.values.elements.allSatisfy({ type.rounds($0).isFinite })
        {
            throw LorikeetError(
                .invalidArgument, source,
                "\(tensor.name) holds a number that is not finite as \(type)")
        }
        self.source = source
        self.task = task
        self.configuration = Array(configuration.json.data(pretty: true))
        factors = try FactorFile(
            metadata: ["format": "pt"],
            tensors: tensors.map { ($0.name, type.tensorType, $0.shape) }, source: source
        ) { index, target in
            type.store(tensors[index].values.elements, into: target)
        }
    }

    /// The same files with the factors rounded to `type`, under the same names in the same order.
    ///
    /// - Throws: `.unsupported` when a factor is not finite in `type`.
    func converted(to type: FactorType) throws -> AdapterFiles {
        let values = try factors.factors.map { factor in
            let values = Buffer<Float>(uninitialized: factor.count)
            try factor.floats(into: values.pointer, source: source)
            return values
        }
        for (tensor, values) in zip(factors.tensors, values)
        where !values.elements.allSatisfy({ type.rounds($0).isFinite }) {
            throw LorikeetError(
                .unsupported, source, "\(tensor.name) holds a number that is not finite as \(type)")
        }
        var files = self
        files.factors = try FactorFile(
            metadata: factors.metadata,
            tensors: factors.tensors.map { ($0.name, type.tensorType, $0.shape) }, source: source
        ) { index, target in
            type.store(values[index].elements, into: target)
        }
        return files
    }

    /// Writes the files into the folder at `path`, which exists.
    func write(into path: String) throws {
        try AtomicOutput.write(configuration, to: path + "/" + Self.configurationName)
        try AtomicOutput.file(at: path + "/" + Self.factorsName) { try $0.write(factors.bytes) }
        if let task {
            try AtomicOutput.write(
                task.json.data(pretty: true), to: path + "/" + SequenceTask.fileName)
        }
    }
}
