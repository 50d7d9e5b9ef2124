import ArgumentParser
import LorikeetRuntime

/// The flags of one command, as the parser itself describes them.
struct CommandFlags {
    /// One flag.
    struct Flag {
        /// Its long name, without dashes.
        let name: String
        /// All that can stand on a command line for it: `--output`, `-o`.
        let spellings: [String]
        /// Whether it is an option; else it is there or not.
        let takesValue: Bool
        /// Whether it can be given several times.
        let isRepeating: Bool
    }

    /// The words that name the command: `["bundle", "pack"]`.
    let command: [String]
    /// Its flags.
    let flags: [Flag]

    /// The flags of the command that `arguments` begin with.
    init(of arguments: [String]) throws {
        let help = try JSON(parsing: Lorikeet._dumpHelp(), source: "the parser's description")
        var tool = help["command"] ?? .null
        var command: [String] = []
        for word in arguments {
            guard
                let next = tool["subcommands"]?.array?.first(where: {
                    $0["commandName"]?.string == word
                })
            else { break }
            (tool, command) = (next, command + [word])
        }
        self.command = command
        flags = (tool["arguments"]?.array ?? []).compactMap(Flag.init)
    }

    subscript(name: String) -> Flag? { flags.first { $0.name == name } }

    /// The flag's name that `name` is most like.
    func nearest(to name: String) -> String? {
        flags.map(\.name).min { name.distance(to: $0) < name.distance(to: $1) }
    }
}

extension CommandFlags.Flag {
    /// Nil for what has no long name, and for help and version, which are commands of their own.
    fileprivate init?(_ argument: JSON) {
        let names = argument["names"]?.array ?? []
        let long = names.first { $0["kind"]?.string == "long" }?["name"]?.string
        guard let long, long != "help", long != "version" else { return nil }
        name = long
        spellings = names.compactMap { name in
            name["name"]?.string.map { (name["kind"]?.string == "long" ? "--" : "-") + $0 }
        }
        takesValue = argument["kind"]?.string == "option"
        isRepeating = argument["isRepeating"]?.bool ?? false
    }
}

extension String {
    /// How many letters must be put in, left out or changed to make this `other` (Levenshtein).
    fileprivate func distance(to other: String) -> Int {
        let (a, b) = (Array(utf8), Array(other.utf8))
        var row = Array(0...b.count)
        for i in a.indices {
            var diagonal = row[0]
            row[0] = i + 1
            for j in b.indices {
                let changed = diagonal + (a[i] == b[j] ? 0 : 1)
                diagonal = row[j + 1]
                row[j + 1] = Swift.min(changed, diagonal + 1, row[j] + 1)
            }
        }
        return row[b.count]
    }
}
