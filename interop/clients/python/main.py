"""Drives azure-eventhub for the interop tests, with its blocking clients or, with --aio, its asyncio clients.

One JSON request a line on stdin, one JSON answer a line on stdout; the protocol stands in interop/doc.go.
"""

import sys

if "--aio" in sys.argv[1:]:
    import asyncio_client as client
else:
    import blocking_client as client

client.serve(sys.stdin)
