import LorikeetAdapters
import LorikeetRuntime
import OrderedCollections
import Testing

struct AdapterConfigurationTests {
    private func configuration(_ settings: [(String, JSON)]) throws -> AdapterConfiguration {
        var json = try JSON(contentsOf: resource("plain") + "/adapter_config.json")
        for (key, value) in settings { json[key] = value }
        return try AdapterConfiguration(json: json, source: "adapter_config.json")
    }

    @Test(arguments: ["plain", "regex_bf16", "all_linear_f16"])
    func `a file that PEFT wrote is written back byte for byte`(name: String) throws {
        let path = try resource(name) + "/adapter_config.json"
        let configuration = try AdapterConfiguration(json: JSON(contentsOf: path), source: path)
        #expect(try [UInt8](configuration.json.data(pretty: true)) == contents(path))
    }

    @Test func `a configuration survives being written and read`() throws {
        let path = try resource("patterns") + "/adapter_config.json"
        let configuration = try AdapterConfiguration(json: JSON(contentsOf: path), source: path)
        #expect(configuration.layersPattern == ["layers"])
        #expect(try AdapterConfiguration(json: configuration.json, source: path) == configuration)
    }

    @Test func `a new configuration has the keys that PEFT writes`() throws {
        let path = try resource("plain") + "/adapter_config.json"
        let written = AdapterConfiguration(rank: 4, alpha: 8, baseModel: "tiny").json
        #expect(try written.object?.keys == JSON(contentsOf: path).object?.keys)
        #expect(written["target_modules"]?.array?.count == 7)
    }

    @Test func `unknown keys are kept`() throws {
        let configuration = try configuration([("a_key_of_tomorrow", [1, 2])])
        #expect(configuration.json["a_key_of_tomorrow"] == [1, 2])
    }

    @Test(arguments: ["plain", "patterns", "regex_bf16", "all_linear_f16"])
    func `modules, ranks and scales are those that PEFT gives`(name: String) throws {
        let folder = try resource(name)
        let configuration = try AdapterConfiguration(
            json: JSON(contentsOf: folder + "/adapter_config.json"), source: folder)
        let expected = try #require(JSON(contentsOf: folder + "/terms.json").object)
        let paths = try configuration.targetedModules(in: smallModel.modules, source: folder)
        #expect(Set(paths.map(\.description)) == Set(expected.keys))
        for (path, term) in try configuration.terms(at: paths, source: folder) {
            #expect(term.rank == expected[path.description]?["rank"]?.int)
            #expect(term.scale == (expected[path.description]?["scale"]?.double).map(Float.init))
        }
    }

    /// Tests/interop/peft_terms.py has recorded them, over a Llama of twelve blocks.
    @Test func `settings of every kind choose what PEFT chooses`() throws {
        let cases = try JSON(contentsOf: resource("peft_terms.json")).array ?? []
        #expect(cases.count == 15)
        // Its dimensions do not matter here.
        var model = smallModel
        model.layerCount = 12
        for recorded in cases {
            let name = recorded["name"]?.string ?? ""
            let settings = try #require(recorded["configuration"]?.object)
            let configuration = try configuration(settings.map { ($0.key, $0.value) })
            let expected = try #require(recorded["terms"]?.object)
            let paths = try configuration.targetedModules(in: model.modules, source: name)
            #expect(Set(paths.map(\.description)) == Set(expected.keys), "\(name)")
            for (path, term) in try configuration.terms(at: paths, source: name) {
                let theirs = expected[path.description]
                #expect(term.rank == theirs?["rank"]?.int, "\(name), \(path)")
                #expect(
                    term.scale == (theirs?["scale"]?.double).map { Float($0) }, "\(name), \(path)")
            }
        }
    }

    @Test(
        arguments: [
            ("lora_bias", true),
            ("layer_replication", [[0, 4]]), ("use_qalora", true), ("trainable_token_indices", [1]),
            ("alora_invocation_tokens", [5]), ("target_parameters", ["w"]),
            ("arrow_config", ["top_k": 3]),
            ("use_bdlora", ["nblocks": 2]), ("kasa_config", ["beta": 1]),
            ("velora_config", ["scale": 1]),
            ("monteclora_config", ["num_groups": 1]), ("peft_type", "IA3"),
            ("init_lora_weights", "pissa"), ("init_lora_weights", "olora"),
            ("init_lora_weights", "corda"), ("init_lora_weights", "loftq"),
            ("use_a_new_variant", true),
        ] as [(String, JSON)])
    func `a setting that needs other mathematics is refused by name`(
        key: String, value: JSON
    ) throws {
        let error = try failure { _ = try configuration([(key, value)]) }
        #expect(error.code == .unsupported)
        #expect(error.description.contains(key))
    }

    @Test(
        arguments: [
            ("modules_to_save", []), ("modules_to_save", nil), ("use_dora", false),
            ("init_lora_weights", "gaussian"), ("init_lora_weights", false), ("loftq_config", [:]),
            ("use_a_new_variant", false), ("fan_in_fan_out", true), ("bias", "all"),
            ("bias", "lora_only"),
        ] as [(String, JSON)])
    func `the same settings are accepted where they change nothing`(key: String, value: JSON) throws
    {
        #expect(try configuration([(key, value)]).rank == 4)
    }

    @Test(
        arguments: [
            ("r", 0), ("r", -1), ("r", 5000), ("r", "8"), ("r", 2.5), ("lora_alpha", 0),
            ("lora_alpha", 1e-60), ("lora_alpha", 1e300), ("lora_alpha", "16"),
            ("target_modules", 3),
            ("target_modules", []), ("target_modules", [1]), ("target_modules", nil),
            ("rank_pattern", ["q_proj": 0]), ("rank_pattern", [1]),
            ("alpha_pattern", ["q_proj": "x"]),
            ("lora_dropout", 1), ("lora_dropout", -0.5), ("use_rslora", 1), ("bias", "some"),
            ("layers_to_transform", ["a"]),
            ("layers_pattern", 5), ("task_type", 1),
        ] as [(String, JSON)])
    func `a value out of its range is malformed`(key: String, value: JSON) throws {
        let error = try failure { _ = try configuration([(key, value)]) }
        #expect(error.code == .malformed)
        #expect(error.description.contains(key))
    }

    @Test(
        arguments: [
            ("target_modules", ["q_proj", "c_attn"]), ("target_modules", "nothing"),
            ("exclude_modules", ".*"), ("layers_to_transform", [7]), ("layers_pattern", ["h"]),
        ] as [(String, JSON)])
    func `targets that the base does not have are refused`(key: String, value: JSON) throws {
        let layers: [(String, JSON)] = key == "layers_pattern" ? [("layers_to_transform", [0])] : []
        let configuration = try configuration([(key, value)] + layers)
        let error = try failure {
            _ = try configuration.targetedModules(in: smallModel.modules, source: "adapter")
        }
        #expect(error.code == .mismatch)
    }
}
