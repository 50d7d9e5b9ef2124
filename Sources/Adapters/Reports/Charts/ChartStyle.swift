/// How charts look: the style sheet that an SVG file carries and a page has once.
enum ChartStyle {
    /// Okabe and Ito's palette, told apart by colour-blind readers, darkened where it has less than 3 : 1
    /// against white, and for dark backgrounds lightened.
    private static let palette: [(light: String, dark: String)] = [
        ("#0072b2", "#56b4e9"), ("#d55e00", "#ff8f40"), ("#008f68", "#2dd4a4"),
        ("#a8458a", "#e79cc9"), ("#97700a", "#f0c440"), ("#4d4d4d", "#c8ccd2"),
        ("#2f8fd0", "#9db8ff"),
    ]
    /// Told apart without colour: in pixels, line and gap by turns.
    private static let dashes = ["none", "8 3", "2 3", "10 3 2 3", "5 2"]

    /// Colours and dashes together: so many curves look different.
    static let count = palette.count * dashes.count

    /// The class names of the curve with this place in its chart.
    static func line(_ index: Int) -> String {
        "l c\(index % palette.count) d\(index % dashes.count)"
    }

    /// The class names of its points and its band.
    static func area(_ index: Int) -> String { "f\(index % palette.count)" }

    /// The rules, light and dark.
    static let css: String = {
        let dashed = dashes.enumerated().map { ".d\($0){stroke-dasharray:\($1)}" }.joined()
        return """
            .chart{font:13px system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif}
            .chart .title{font-size:15px;font-weight:600}
            .chart .l{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:butt}
            .chart .raw{stroke-width:1;stroke-opacity:.3;stroke-dasharray:none}
            .chart .band{fill-opacity:.16;stroke:none}
            .chart .grid,.chart .axis{fill:none;stroke-width:1;shape-rendering:crispEdges}
            \(dashed)
            \(rules(\.light, text: "#1f2328", muted: "#59636e", grid: "#e4e7eb", axis: "#9aa4af", background: "#ffffff"))
            @media (prefers-color-scheme:dark){
            \(rules(\.dark, text: "#e6e9ee", muted: "#a2abb6", grid: "#2b313a", axis: "#6b7580", background: "#14171c"))
            }
            """
    }()

    private static func rules(
        _ shade: KeyPath<(light: String, dark: String), String>, text: String, muted: String,
        grid: String, axis: String, background: String
    ) -> String {
        let colours = palette.enumerated().map { index, pair in
            ".c\(index){stroke:\(pair[keyPath: shade])}.f\(index){fill:\(pair[keyPath: shade])}"
        }.joined()
        return """
            .chart text{fill:\(text)}.chart .muted{fill:\(muted)}
            .chart .grid{stroke:\(grid)}.chart .axis{stroke:\(axis)}.chart .paper{fill:\(background)}
            \(colours)
            """
    }
}
