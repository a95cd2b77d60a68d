"""Tables in HTML, as a browser would read them."""

from html.parser import HTMLParser

_SUMMARY, _CELLS = "summary", ("td", "th")


class Tables(HTMLParser):
    """Lines of cells of the tables that follow a summary, and all tags that there are."""

    def __init__(self, markup):
        super().__init__()
        self.tags, self.summaries, self._lines = set(), [], []
        self._place = None
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag == _SUMMARY:
            self.summaries.append("")
            self._lines.append([])
        elif tag == "tr" and self._lines:
            self._lines[-1].append([])
        elif tag in _CELLS and self._lines:
            self._lines[-1][-1].append("")
        self._place = tag

    def handle_endtag(self, tag):
        self._place = None

    def handle_data(self, data):
        if self._place == _SUMMARY:
            self.summaries[-1] += data
        elif self._place in _CELLS and self._lines:
            self._lines[-1][-1][-1] += data

    def after(self, words):
        """The lines of the table whose summary has these words; the first holds the names."""
        number = next(n for n, summary in enumerate(self.summaries) if words in summary)
        return self._lines[number]
