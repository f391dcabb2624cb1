"""Training runs as one page of HTML: what was run, with which objectives, and what came of it.

`runs` reads the runs, `objectives`, `results` and `gallery` say what the page says of them, `weight_chart` and
`training_chart` draw with Plotly, and `page` puts it all into the templates.
"""

from goal_analysis.study.report.page import report

__all__ = ["report"]
