"""The operations of azure-eventhub-checkpointstoreblob that both clients share, but for who waits."""


def ownership(request, record):
    """A record as the SDK takes it."""
    return {
        "fully_qualified_namespace": request["namespace"],
        "eventhub_name": request["hub"],
        "consumer_group": request["group"],
        "partition_id": record["partition"],
        "owner_id": record["owner"],
        "etag": record.get("etag"),
        "last_modified_time": None,
    }


def ownerships(records):
    """Records as they travel; a free one has no owner."""
    return {
        "ownership": [
            {"partition": r["partition_id"], "owner": r["owner_id"] or "", "etag": r.get("etag") or ""} for r in records
        ]
    }


def checkpoint(request):
    """A checkpoint as the SDK takes it."""
    at = request["at"]
    return {
        "fully_qualified_namespace": request["namespace"],
        "eventhub_name": request["hub"],
        "consumer_group": request["group"],
        "partition_id": at["partition"],
        "offset": at["offset"],
        "sequence_number": int(at["sequence"]),
    }


def checkpoints(records):
    """Checkpoints as they travel."""
    return {
        "saved": [
            {"partition": r["partition_id"], "offset": str(r["offset"]), "sequence": str(r["sequence_number"])}
            for r in records
        ]
    }


def group(request):
    """The three names of a group, in the order of the SDK's arguments."""
    return request["namespace"], request["hub"], request["group"]
