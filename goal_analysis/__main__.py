"""``python -m goal_analysis`` is ``goal-analyze``."""

from goal_analysis.cli import main

if __name__ == "__main__":
    main()
