"""Choosing rates: grids, searches, maps of the rate plane, and recommendations."""
