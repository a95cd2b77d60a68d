"""Bits and nats: the library computes in nats and shows bits."""

import math

LN2 = math.log(2)
