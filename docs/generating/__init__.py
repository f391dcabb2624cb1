"""Pages that follow from the code: of every loss, module and command; and how formulas are set."""
