import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

import LorikeetServer

struct EngineTests {
    @Test func `an engine compiles`() {}
}
