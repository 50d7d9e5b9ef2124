import Foundation
import LorikeetAdapters
import Testing

#if canImport(FoundationXML)
import FoundationXML
#endif

/// What a chart's SVG holds, read back by Foundation's XML parser.
final class SVGDocument: NSObject, XMLParserDelegate {
    struct Element: Equatable {
        var name: String
        var attributes: [String: String]
        var text = ""
    }

    private(set) var elements: [Element] = []
    private var open: [Int] = []

    init(_ text: String) throws {
        super.init()
        let parser = XMLParser(data: Data(text.utf8))
        parser.delegate = self
        guard parser.parse() else {
            throw parser.parserError ?? CocoaError(.fileReadCorruptFile)
        }
    }

    func parser(
        _ parser: XMLParser, didStartElement name: String, namespaceURI: String?,
        qualifiedName: String?, attributes: [String: String]
    ) {
        open.append(elements.count)
        elements.append(Element(name: name, attributes: attributes))
    }

    func parser(
        _ parser: XMLParser, didEndElement name: String, namespaceURI: String?,
        qualifiedName: String?
    ) { open.removeLast() }

    func parser(_ parser: XMLParser, foundCharacters text: String) {
        if let last = open.last { elements[last].text += text }
    }

    func all(_ name: String, class word: String? = nil) -> [Element] {
        elements.filter { element in
            let words = element.attributes["class"]?.split(separator: " ").map(String.init) ?? []
            return element.name == name && word.map(words.contains) != false
        }
    }

    var labels: [String] { all("text", class: "muted").map(\.text) }
}

@Suite struct LineChartTests {
    private func document(_ chart: LineChart) throws -> SVGDocument {
        try SVGDocument(ChartSheet([chart]).svg)
    }

    private func chart(
        _ ys: [Double], x: ChartAxis = ChartAxis("step"), y: ChartAxis = ChartAxis("loss")
    ) -> LineChart {
        let points = ys.enumerated().map { ChartSeries.Point(Double($0 + 1), $1) }
        return LineChart("Loss", x: x, y: y, series: [ChartSeries("run", points)])
    }

    @Test func `a chart is well-formed, whatever its names hold`() throws {
        let name = "<lr=1e-4 & \"'\u{1}]]>\u{FFFF}é漢"
        var hostile = chart([1, 2, 3])
        hostile.title = name
        hostile.x.label = name
        hostile.y.label = name
        hostile.series = [hostile.series[0], hostile.series[0]]
        hostile.series[0].name = name
        hostile.series[1].name = String(repeating: "long name ", count: 40)
        let svg = try document(hostile)
        let shown = "<lr=1e-4 & \"'\u{FFFD}]]>\u{FFFD}é漢"
        #expect(svg.all("title").map(\.text) == [shown])
        #expect(svg.all("text").map(\.text).filter { $0 == shown }.count == 4)
        #expect(svg.all("desc")[0].text.contains("goes from 1 at 1 to 3 at 3"))
        let plain = try #require(svg.all("svg").last?.attributes)
        #expect(plain["role"] == "img" && plain["aria-labelledby"] == "chart1-t chart1-d")
    }

    @Test func `ticks stand at round numbers`() throws {
        #expect(try document(chart([0, 10])).labels.prefix(6) == ["0", "2", "4", "6", "8", "10"])
        let small = try document(chart([0, 2e-4])).labels
        #expect(small.contains("0") && small.contains("1.0e-4") && small.contains("1.5e-4"))
        let large = try document(chart([0, 12_000])).labels
        #expect(large.contains("5,000") && large.contains("10,000"))
        #expect(try document(chart([0, 4_000_000])).labels.contains("2M"))
        #expect(try document(chart([-1, 1])).labels.contains("−0.5"))
        // A curve that does not move still has an axis around it.
        #expect(try document(chart([3, 3, 3])).labels.contains { $0.hasPrefix("3.0") })
        #expect(try document(chart([0, 0])).labels.contains("0"))
    }

    @Test func `a logarithmic axis is marked at powers of ten, or what lies between them`() throws {
        func labels(_ ys: [Double]) throws -> [String] {
            try document(chart(ys, y: ChartAxis("norm", scale: .logarithmic))).labels
        }
        let decades = try labels([1e-5, 1])
        #expect(decades.starts(with: ["1e-5", "1e-4", "0.001", "0.01", "0.1", "1"]))
        #expect(try labels([1e-30, 1e30]).filter { $0.hasPrefix("1e") }.count <= 8)
        #expect(try labels([1, 30]).contains("20"))
        #expect(try labels([2.2, 2.6]).contains("2.4"))
        // What is not positive has no place.
        let points = try document(
            chart([1, 0, -5, 10, 100], y: ChartAxis("norm", scale: .logarithmic)))
        #expect(points.all("path", class: "l").count == 1)
        #expect(points.all("circle").count == 3)
    }

    @Test func `gaps stay gaps, and a lone point is a dot`() throws {
        let ys = [1, 2, .nan, 3, .infinity, 4, 5, 6, 7, 8, 9, 10, 11, 12]
        let svg = try document(chart(ys))
        let curve = try #require(svg.all("path", class: "l").last?.attributes["d"])
        #expect(curve.count { $0 == "M" } == 2)
        #expect(svg.all("circle").count == 1)
        #expect(!ChartSheet([chart(ys)]).svg.lowercased().contains("nan"))
        for empty in [[], [Double.nan, .infinity], [1e305, .greatestFiniteMagnitude]] {
            #expect(try document(chart(empty)).all("text").map(\.text).contains("no values"))
        }
    }

    @Test func `a long run is thinned without losing its extremes`() throws {
        var ys = (0..<100_000).map { sin(Double($0) / 3000) }
        ys[77_777] = 50
        let svg = ChartSheet([chart(ys)]).svg
        #expect(svg.utf8.count < 20_000)
        // The spike is as high as the axis goes, but for its padding: a twentieth of 51 above 50.
        let curve = try #require(
            try SVGDocument(svg).all("path", class: "l").last?.attributes["d"])
        let heights = curve.dropFirst().split(separator: " ").enumerated()
            .filter { $0.offset % 2 == 1 }.compactMap { Double($0.element) }
        let (top, plot) = (44.0, 280.0)
        // Tenths of a pixel.
        #expect(abs((heights.min() ?? 0) - (top + plot * 0.05 / 1.1)) < 0.06)
    }

    @Test func `a band surrounds its curve`() throws {
        var banded = chart([1, 2, 3])
        banded.series[0].band = (1...3).map {
            ChartSeries.Extent(Double($0), Double($0) - 1, Double($0) + 1)
        }
        let svg = try document(banded)
        let band = try #require(svg.all("path", class: "band").last?.attributes["d"])
        #expect(band.hasSuffix("Z") && band.split(separator: " ").count == 7 + 5)
        // The axis holds the band, not only the curve.
        #expect(svg.labels.starts(with: ["0", "1", "2", "3", "4"]))
    }

    @Test func `curves differ by colour and by dash`() throws {
        var many = chart([1, 2])
        many.series = (0..<35).map { ChartSeries("run \($0)", many.series[0].points) }
        let classes = try document(many).all("path", class: "l").compactMap {
            $0.attributes["class"]
        }
        // Once in the legend, once in the plot.
        #expect(classes.count == 70)
        #expect(Set(classes).count == 35)
    }

    @Test func `values beyond an axis' end are cut off, not squeezed in`() throws {
        let cut = try document(chart([1, 2, 1e9], y: ChartAxis("loss", maximum: 4)))
        #expect(cut.labels.contains("4") && !cut.labels.contains { $0.hasSuffix("M") })
        #expect(cut.all("clipPath").count == 1)
    }

    @Test func `smoothing is the mean that weighs the near past, from the first value on`() {
        #expect(Smoothing(over: 1)([3, 1, 2]) == [3, 1, 2])
        // N = 3: each value weighs half of the next one.
        #expect(Smoothing(over: 3)([1, 4]) == [1, 3])
        let gap = Smoothing(over: 3)([1, .nan, 4])
        #expect(gap[0] == 1 && gap[1].isNaN && gap[2] == 3)
        #expect(Smoothing(ofRun: 10).count == 1 && Smoothing(ofRun: 200).count == 10)
    }
}
