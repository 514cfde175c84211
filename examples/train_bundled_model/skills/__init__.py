"""One module per group of skills; each offers functions that turn a `Source` into the turns of a dialogue."""
