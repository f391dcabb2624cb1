"""The functions of `import goal_analysis` that read text wherever they take a value."""
