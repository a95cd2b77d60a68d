"""From what a user passes as X to numbers, and what is odd about them.

Frames, masked arrays, dates and text come in; `checks.check_rows` hands `_data.rows.Rows` on. What
a frame is like, `schema.Schema` keeps, and makes such frames of numbers again. The other files look
at the rows: copies, wild cells, other scales than before.
"""
