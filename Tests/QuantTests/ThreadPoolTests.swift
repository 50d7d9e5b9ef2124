import Foundation
import LorikeetQuant
import Synchronization
import Testing

struct ThreadPoolTests {
    @Test(arguments: 1...8)
    func `every piece runs once`(threads: Int) {
        let pool = ThreadPool(threads: threads)
        #expect(pool.count == threads)
        for pieces in [0, 1, threads, 3 * threads + 1] {
            let runs = Buffer<Int>(pieces)
            let strangers = Atomic<Int>(0)
            for _ in 0..<300 {
                pool.run(pieces: pieces) { thread, piece in
                    runs[piece] += 1
                    if !(0..<threads).contains(thread) { strangers.add(1, ordering: .relaxed) }
                }
            }
            #expect(runs.array == [Int](repeating: 300, count: pieces))
            #expect(strangers.load(ordering: .relaxed) == 0)
        }
    }

    // Two threads in the pieces of one region at the same time never have the same number.
    @Test func `a thread is in one piece at a time`() {
        let pool = ThreadPool(threads: 4)
        let inside = (0..<4).map { _ in Buffer<Int>(1) }
        let clashes = Atomic<Int>(0)
        for _ in 0..<200 {
            pool.run(pieces: 16) { thread, _ in
                inside[thread][0] += 1
                if inside[thread][0] != 1 { clashes.add(1, ordering: .relaxed) }
                inside[thread][0] -= 1
            }
        }
        #expect(clashes.load(ordering: .relaxed) == 0)
    }

    // A range may wait for all leading pieces: it would wait in vain for one that nobody has claimed.
    @Test(arguments: 1...5)
    func `leading pieces of a split are claimed before its ranges`(threads: Int) {
        let pool = ThreadPool(threads: threads)
        for (lead, total) in [(0, 9), (1, 1), (3, 0), (7, 40), (20, 1)] {
            let led = Buffer<Int>(lead)
            let done = Atomic<Int>(0)
            let covered = Atomic<Int>(0)
            let late = Atomic<Int>(0)
            pool.split(
                total, after: lead,
                first: { _, piece in
                    led[piece] += 1
                    done.add(1, ordering: .acquiringAndReleasing)
                }
            ) { _, begin, end in
                let clock = ContinuousClock()
                let deadline = clock.now + .seconds(20)
                while done.load(ordering: .acquiring) < lead, clock.now < deadline {}
                if done.load(ordering: .acquiring) < lead { late.add(1, ordering: .relaxed) }
                covered.add(end - begin, ordering: .relaxed)
            }
            #expect(led.array == [Int](repeating: 1, count: lead))
            #expect(covered.load(ordering: .relaxed) == total)
            #expect(late.load(ordering: .relaxed) == 0)
        }
    }

    @Test(arguments: 1...8, [1, 3, 16, 64])
    func `a split covers its range once, cut at multiples of the grain`(threads: Int, grain: Int) {
        let pool = ThreadPool(threads: threads)
        for total in [0, 1, 2, 15, 16, 17, 63, 64, 65, 200, 1001] {
            let visits = Buffer<Int>(total)
            let misplaced = Atomic<Int>(0)
            pool.split(total, by: grain) { thread, begin, end in
                let ends = end == total || end % grain == 0
                if begin % grain != 0 || !ends || begin >= end || !(0..<threads).contains(thread) {
                    misplaced.add(1, ordering: .relaxed)
                }
                for i in begin..<end { visits[i] += 1 }
            }
            #expect(visits.array == [Int](repeating: 1, count: total))
            #expect(misplaced.load(ordering: .relaxed) == 0)
        }
    }

    @Test func `what one region wrote, all threads see in the next`() {
        let pool = ThreadPool(threads: 4)
        let values = Buffer<Int>(4)
        let next = Buffer<Int>(4)
        for _ in 0..<500 {
            pool.run(pieces: 4) { next[$1] = values[($1 + 1) % 4] + 1 }
            pool.run(pieces: 4) { values[$1] = next[$1] }
        }
        #expect(values.array == [500, 500, 500, 500])
    }

    // A millisecond is far beyond the time that workers spin: each region finds them asleep.
    @Test(arguments: [2, 4]) func `sleeping workers wake`(threads: Int) {
        let pool = ThreadPool(threads: threads)
        let count = Atomic<Int>(0)
        for _ in 0..<50 {
            usleep(1000)
            pool.run(pieces: threads) { _, _ in count.add(1, ordering: .relaxed) }
        }
        #expect(count.load(ordering: .relaxed) == 50 * threads)
    }

    @Test func `regions of several callers do not overlap`() async {
        let pool = ThreadPool(threads: 3)
        final class Counts: Sendable {
            let inside = Atomic<Int>(0)
            let overlaps = Atomic<Int>(0)
        }
        let counts = Counts()
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    for _ in 0..<100 {
                        pool.run(pieces: 6) { _, _ in
                            let now = counts.inside.add(1, ordering: .acquiringAndReleasing)
                                .newValue
                            if now > 3 { counts.overlaps.add(1, ordering: .relaxed) }
                            counts.inside.subtract(1, ordering: .acquiringAndReleasing)
                        }
                    }
                }
            }
        }
        #expect(counts.overlaps.load(ordering: .relaxed) == 0)
        #expect(counts.inside.load(ordering: .relaxed) == 0)
    }

    @Test func `pools come and go`() {
        for threads in 1...50 {
            let pool = ThreadPool(threads: threads % 5 + 1)
            if threads % 2 == 0 { pool.run(pieces: 2) { _, _ in } }
        }
    }
}
