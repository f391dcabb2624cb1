"""Many runs: objectives compared over seeds."""
