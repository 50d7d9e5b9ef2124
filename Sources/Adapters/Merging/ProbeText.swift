/// What a merge is probed with unless its user brings a text: prose, dialogue, instructions, a list, code.
public enum ProbeText {
    /// About three hundred tokens, written for this purpose.
    public static let text = """
        The ferry left the harbour a little after six, when the fog still lay on the water and the gulls could be \
        heard but not seen. Old Maren, who had made the crossing every Thursday for thirty years, took her seat by \
        the engine room, where it was warm, and unfolded yesterday's newspaper. "You have read that one already," \
        said the boy who sold the tickets. "So I have," she answered, "and today I shall find out whether I \
        understood it."

        Question: Why is the sky blue during the day and red in the evening?
        Answer: Sunlight is scattered by the molecules of the air, and short waves, which we see as blue, are \
        scattered most. In the evening the light comes a longer way through the air; most of the blue is lost on \
        that way, and what reaches us is red.

        How to make a simple bread:
        1. Mix 500 grams of flour, 10 grams of salt, 7 grams of dry yeast and 320 grams of warm water.
        2. Knead the dough for ten minutes, cover it, and let it rest for an hour.
        3. Shape a loaf and bake it at 220 degrees for thirty-five minutes.

        def mean(values):
            total = 0
            for value in values:
                total += value
            return total / len(values)

        Dear Mr. Okafor, thank you for your letter of the third of May. We are happy to tell you that the repair of \
        your clock is finished, and that the bill comes to forty-two euros. It may be collected on any weekday \
        between nine and five. Yours sincerely, Hanna Lindqvist.
        """
}
