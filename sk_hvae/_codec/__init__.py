"""From rows to bytes and back: bits-back coding with asymmetric numeral systems.

Whatever a decoder has to compute again is computed by NumPy in float64, in operations that IEEE 754
rounds in one way only, so that every machine finds the same numbers (``elementary``, ``networks``).
"""
