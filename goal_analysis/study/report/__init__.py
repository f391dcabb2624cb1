"""Training runs as one page of HTML: what was run, with which objectives, and what came of it.

`runs` reads the runs; `objectives` and `gallery` say what the page says of them; `page` puts it all into the templates,
with the charts of `goal_analysis.pictures`.
"""

from goal_analysis.study.report.page import report

__all__ = ["report"]
