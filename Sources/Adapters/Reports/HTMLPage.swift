/// A page that needs nothing but itself: its style within it, its charts as SVG, no script, no network.
struct HTMLPage {
    /// The heading.
    let title: String
    /// A line under the heading.
    let subtitle: String
    private var body = ""
    private var chartCount = 0

    init(_ title: String, subtitle: String) {
        self.title = title
        self.subtitle = subtitle
    }

    /// Figures that stand out, each under its name.
    mutating func addFigures(_ figures: [(name: String, value: String)]) {
        body += "<dl class=\"figures\">\n"
        for (name, value) in figures {
            body +=
                "<div><dt>\(name.escapedForMarkup)</dt>"
                + "<dd>\(value.escapedForMarkup)</dd></div>\n"
        }
        body += "</dl>\n"
    }

    /// A heading.
    mutating func addHeading(_ text: String) { body += "<h2>\(text.escapedForMarkup)</h2>\n" }

    /// A paragraph.
    mutating func addText(_ text: String) { body += "<p>\(text.escapedForMarkup)</p>\n" }

    /// A list.
    mutating func addList(_ items: [String]) {
        body += "<ul>\n" + items.map { "<li>\($0.escapedForMarkup)</li>\n" }.joined() + "</ul>\n"
    }

    /// Charts beside one another where the window is wide.
    mutating func addCharts(_ charts: [LineChart]) {
        body += "<div class=\"charts\">\n"
        for chart in charts {
            chartCount += 1
            body += "<figure>\n\(chart.svg(id: "chart\(chartCount)"))</figure>\n"
        }
        body += "</div>\n"
    }

    /// A table; the first column names the rows, and the others are numbers unless `isText`.
    mutating func addTable(_ header: [String], _ rows: [[String]], isText: Bool = false) {
        func cells(_ row: [String]) -> String {
            row.enumerated().map { index, text in
                index == 0
                    ? "<th scope=\"row\">\(text.escapedForMarkup)</th>"
                    : "<td>\(text.escapedForMarkup)</td>"
            }.joined()
        }
        let head = header.map { "<th scope=\"col\">\($0.escapedForMarkup)</th>" }.joined()
        body += "<div class=\"scroll\"><table\(isText ? " class=\"text\"" : "")>\n"
        if !header.isEmpty { body += "<thead><tr>\(head)</tr></thead>\n" }
        body +=
            "<tbody>\n" + rows.map { "<tr>\(cells($0))</tr>\n" }.joined()
            + "</tbody>\n</table></div>\n"
    }

    /// The page.
    var html: String {
        """
        <!doctype html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <meta name="color-scheme" content="light dark">
        <title>\(title.escapedForMarkup)</title>
        <style>
        \(ChartStyle.css)
        \(Self.css)
        </style>
        </head>
        <body>
        <main>
        <h1>\(title.escapedForMarkup)</h1>
        <p class="subtitle">\(subtitle.escapedForMarkup)</p>
        \(body)</main>
        </body>
        </html>

        """
    }

    private static let css = """
        body{margin:0;background:#f6f7f9;color:#1f2328;font:15px/1.5 system-ui,-apple-system,"Segoe UI",\
        "DejaVu Sans",sans-serif}
        main{max-width:1180px;margin:0 auto;padding:28px 20px 60px}
        h1{font-size:26px;line-height:1.2;margin:0;overflow-wrap:anywhere}
        h2{font-size:18px;margin:36px 0 10px}
        p,li{max-width:75ch}
        .subtitle{margin:6px 0 20px;color:#59636e;overflow-wrap:anywhere}
        .figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(140px,1fr));gap:12px;margin:0 0 20px}
        .figures div,figure,.scroll{background:#fff;border:1px solid #dfe3e8;border-radius:8px}
        .figures div{padding:10px 14px}
        .figures dt{color:#59636e;font-size:13px}
        .figures dd{margin:0;font-size:19px;font-weight:600;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
        .charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,480px),1fr));gap:16px}
        figure{margin:0;padding:8px}
        figure svg{display:block;width:100%;height:auto}
        .scroll{overflow-x:auto}
        table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
        th,td{padding:7px 14px;text-align:right;white-space:nowrap;border-top:1px solid #e9ecf0}
        thead th{border-top:0;color:#59636e;font-weight:600}
        th:first-child{text-align:left;font-weight:600}
        .text td{text-align:left;white-space:normal;overflow-wrap:anywhere}
        .text th{vertical-align:top;font-weight:400;color:#59636e}
        @media (prefers-color-scheme:dark){
        body{background:#0d1013;color:#e6e9ee}
        .figures div,figure,.scroll{background:#14171c;border-color:#2b313a}
        th,td{border-color:#232830}
        .subtitle,.figures dt,thead th,.text th{color:#a2abb6}
        }
        """
}
