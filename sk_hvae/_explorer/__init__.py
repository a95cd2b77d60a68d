"""The page on which the rate plane is explored: one HTML file, without a server or a network."""
