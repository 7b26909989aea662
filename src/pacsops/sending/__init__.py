"""Sending by ourselves: claims become associations, and every instance that arrived is written down.

The gateway sends from its spool so, and the router those destinations that Orthanc is not to send to.
"""
