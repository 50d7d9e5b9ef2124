import LorikeetAdapters
import LorikeetRuntime

extension DataOptions {
    /// What a plan needs to know of the rows over `checkpoint`: of the data's, or of any up to
    /// `--max-length` without data.
    func shape(
        for checkpoint: any Checkpoint, _ options: TrainingOptions
    ) throws -> MemoryPlan.Data {
        let longest = min(
            maxLength, try ModelConfiguration(checkpoint).maximumPositions)
        guard let data else { return MemoryPlan.Data(maximumLength: longest) }
        let files = try TokenizerFiles(checkpoint)
        let (tokenizer, template) = try (files.tokenizer(), files.chatTemplate())
        let rows =
            options.objective == .directPreference
            ? try TrainingData(
                preferences: data, tokenizer: tokenizer, chatTemplate: template,
                maximumLength: longest)
            : try TrainingData(
                jsonl: data, tokenizer: tokenizer, chatTemplate: template, prompt: prompt,
                maximumLength: longest)
        return MemoryPlan.Data(rows, options: options, maximumLength: longest)
    }
}
