"""The sample of azure-eventhub-checkpointstoreblob-aio in its own words: one event hub, one container, three settings.

After receive_events_using_checkpoint_store_async.py of Azure/azure-sdk-for-python (MIT, Copyright Microsoft Corporation):
the same calls with the same arguments, and nothing set but the connection strings. It differs in what it prints, and in
that it ends when its standard input does.
"""

import asyncio
import os
import sys

from azure.eventhub.aio import EventHubConsumerClient
from azure.eventhub.extensions.checkpointstoreblobaio import BlobCheckpointStore


async def on_event(partition_context, event):
    print(partition_context.partition_id, event.body_as_str(), flush=True)
    await partition_context.update_checkpoint(event)


async def main():
    checkpoint_store = BlobCheckpointStore.from_connection_string(
        os.environ["AZURE_STORAGE_CONN_STR"], container_name="your-blob-container-name"
    )
    client = EventHubConsumerClient.from_connection_string(
        os.environ["EVENT_HUB_CONN_STR"],
        consumer_group="$Default",
        eventhub_name=os.environ["EVENT_HUB_NAME"],
        checkpoint_store=checkpoint_store,
    )
    async with client:
        receiving = asyncio.ensure_future(client.receive(on_event))
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await receiving


asyncio.run(main())
