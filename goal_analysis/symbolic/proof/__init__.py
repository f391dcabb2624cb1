"""What expressions are worth and what can be proved of them: values, identities, simpler forms, antiderivatives."""
