"""How many rows a matrix product takes for each to be what it is in any other company."""

# Matrix products round a row's result in the same way in any batch of a multiple of this many rows.
EVEN_ROWS = 32
