"""What another policy would have said to what was asked: recorded inputs, asked once more.

A decision is a function of its input, and the input is on record. So nothing is estimated here:
each decision is made again, by the same guest and under the same floor, and compared.
"""
