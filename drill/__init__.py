"""A long crash drill: a gateway under traffic, faults at random, and a ledger that nothing may be missing from.

`make drill`, or `python -m drill --seconds 60 --seed 7` from the checkout.
"""
