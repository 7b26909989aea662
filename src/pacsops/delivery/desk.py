"""What an operator asks and orders: reading deliveries, and retry, skip, cancel.

Every function is one transaction. Nothing here talks to Orthanc or to a destination: an order changes the state,
the router does the rest within a second.
"""
