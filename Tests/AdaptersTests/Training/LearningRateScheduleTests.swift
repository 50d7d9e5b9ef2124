import Foundation
import LorikeetAdapters
import LorikeetRuntime
import Testing

@Suite struct LearningRateScheduleTests {
    private func shape(_ json: JSON?) -> LearningRateSchedule.Shape {
        var shape = LearningRateSchedule.Shape()
        shape.floor = json?["floor"]?.double ?? shape.floor
        shape.power = json?["power"]?.double ?? shape.power
        shape.cycles = json?["cycles"]?.int ?? shape.cycles
        shape.decayRatio = json?["decayRatio"]?.double ?? shape.decayRatio
        return shape
    }

    @Test func `shaped schedules are those of transformers`() throws {
        let url = try #require(
            Bundle.module.url(
                forResource: "schedules", withExtension: "json", subdirectory: "Resources"))
        let recorded = try #require(try JSON(contentsOf: url.path).array)
        for entry in recorded {
            let schedule = try #require(
                LearningRateSchedule(rawValue: entry["schedule"]?.string ?? ""))
            let (warmup, total) = (entry["warmup"]?.int ?? 0, entry["total"]?.int ?? 0)
            let factors = try #require(entry["factors"]?.array)
            #expect(factors.count == total)
            for (step, factor) in factors.enumerated() {
                let ours = schedule.factor(
                    step: step, warmup: warmup, total: total, shape: shape(entry["shape"]))
                // The same formula in float64.
                #expect(abs(ours - (factor.double ?? .nan)) < 1e-12, "\(entry), step \(step)")
            }
        }
        #expect(recorded.count == 24)
    }

    @Test(arguments: LearningRateSchedule.allCases)
    func `every schedule stays between zero and the peak, and reaches the peak`(
        schedule: LearningRateSchedule
    ) {
        for (warmup, total) in [(0, 1), (0, 2), (1, 1), (5, 4), (10, 100)] {
            let factors = (0..<total).map {
                schedule.factor(step: $0, warmup: warmup, total: total)
            }
            #expect(factors.allSatisfy { (0...1).contains($0) }, "\(factors)")
            #expect(warmup >= total || factors.contains(1), "\(factors)")
        }
    }

    @Test func `a warm-up given as a part of the run is rounded up to a step`() throws {
        var options = TrainingOptions()
        options.length = .steps(10)
        options.learningRate = 1
        options.warmupRatio = 0.25
        let trainer = try Trainer(ToyModel.rows, options: options)
        let rates: [Double] = (0..<4).map { trainer.learningRate(at: $0) }
        let expected: [Double] = [0, 1.0 / 3, 2.0 / 3, 1]
        #expect(rates == expected)
    }
}
