"""Rows of X wherever they are, the batches cut from them, and the devices and threads they meet.

A checked X comes in as `rows.Rows`; batches of tensors go out, to training and to measuring.
"""
