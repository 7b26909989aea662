"""The promise: what is planned is delivered, or it is visible why not."""
