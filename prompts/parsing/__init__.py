"""The parts of the call parser: events, literals, the reader of pieces, and the decoding of each syntax."""
