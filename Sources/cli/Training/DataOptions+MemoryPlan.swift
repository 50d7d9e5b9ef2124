import LorikeetAdapters
import LorikeetRuntime

extension DataOptions {
    /// What a plan needs to know of the rows over `checkpoint`: of the data's, or of any up to
    /// `--max-length` without data.
    func shape(
        for checkpoint: any Checkpoint, _ options: FineTuning.Options
    ) throws -> MemoryPlan.Data {
        let longest = min(
            maxLength, try ModelConfiguration(checkpoint).maximumPositions)
        guard let data else { return MemoryPlan.Data(maximumLength: longest) }
        let files = try TokenizerFiles(checkpoint)
        let rows = try FineTuning(options: options).read(
            data, tokenizer: files.tokenizer(), chatTemplate: files.chatTemplate(),
            maximumLength: longest)
        return MemoryPlan.Data(rows, maximumLength: longest)
    }
}
