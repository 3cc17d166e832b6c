"""Search of the taps that a head reads: layers, poolings and their combinations."""
