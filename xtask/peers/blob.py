"""azure-storage-blob against the blob container stand-in.

Addresses come as JSON in the variable TWINROUTE_EMULATOR or as the first argument. Prints one line
`ok <name>` per passed check; ends with 1 and a reason on the first failure.
"""

import datetime
import json
import os
import sys
import threading
import uuid

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import (
    BlobClient,
    BlobServiceClient,
    ContainerClient,
    ContentSettings,
    generate_account_sas,
    generate_blob_sas,
    generate_container_sas,
)

RUN_SECONDS_MAX = 60

addresses = json.loads(os.environ.get("TWINROUTE_EMULATOR") or sys.argv[1])
scene = addresses["container"]
run = uuid.uuid4().hex
now = datetime.datetime.now(datetime.timezone.utc)
hour = datetime.timedelta(hours=1)
service = BlobServiceClient.from_connection_string(scene["connectionString"], retry_total=0)
account, key = service.account_name, service.credential.account_key


def ok(name):
    print(f"ok blob.py {name}", flush=True)


def refused(name, status, code, call):
    try:
        call()
    except HttpResponseError as error:
        said = (error.status_code, error.error_code)
        assert said == (status, code), f"{name}: {said}: {error}"
        assert "sig=" not in str(error), f"{name}: the signature is shown"
        ok(name)
        return
    raise AssertionError(f"{name}: it was taken")


def container(permission, start=None, expiry=now + hour, name=scene["name"], signed=None, **more):
    sas = generate_container_sas(account, signed or name, account_key=key, permission=permission,
                                 start=start, expiry=expiry, **more)
    return ContainerClient.from_container_url(
        f"{service.primary_endpoint}/{name}?{sas}", retry_total=0)


def first_letters():
    with ContainerClient.from_container_url(scene["sasUrl"], retry_total=0) as client:
        blob = client.get_blob_client(f"{run}/2026/11/22/08/a b.json")
        metadata = {"deadletterreason": "MaxDeliveryAttemptsExceeded", "deliveryattempts": "30"}
        blob.upload_blob(b'{"id":"1"}', overwrite=False, metadata=metadata,
                         content_settings=ContentSettings(content_type="application/json"))
        ok("an upload")
        refused("a second upload without overwriting", 409, "BlobAlreadyExists",
                lambda: blob.upload_blob(b"other", overwrite=False))
        got = blob.download_blob()
        assert got.readall() == b'{"id":"1"}'
        assert got.properties.metadata == metadata, got.properties.metadata
        assert got.properties.content_settings.content_type == "application/json"
        assert blob.download_blob(offset=2, length=2).readall() == b"id"
        properties = blob.get_blob_properties()
        assert properties.size == 10 and properties.metadata == metadata, properties
        assert properties.blob_type == "BlockBlob" and properties.last_modified.tzinfo
        ok("content, metadata and properties come back")
        etag = properties.etag
        blob.upload_blob(b"new", overwrite=True)
        changed = blob.get_blob_properties()
        assert changed.etag != etag and changed.creation_time == properties.creation_time
        condition = {"etag": etag, "match_condition": MatchConditions.IfNotModified}
        refused("an upload over a change", 412, "ConditionNotMet",
                lambda: blob.upload_blob(b"late", overwrite=True, **condition))
        empty = client.get_blob_client(f"{run}/empty")
        empty.upload_blob(b"")
        assert empty.download_blob().readall() == b""
        ok("overwriting, conditions and an empty blob")
        blob.delete_blob()
        refused("a deleted blob", 404, "BlobNotFound", lambda: blob.download_blob())
        refused("the properties of a deleted blob", 404, "BlobNotFound", blob.get_blob_properties)
        refused("a wrong MD5", 400, "Md5Mismatch",
                lambda: blob.upload_blob(b"x", headers={"Content-MD5": "1B2M2Y8AsgTpgAmY7PhCfg=="}))
        blob.upload_blob(b"checked", validate_content=True)
        assert blob.download_blob(validate_content=True).readall() == b"checked"
        ok("an upload and a download with checksums")


def listings():
    name = f"python-{run[:20]}"
    client = service.create_container(name, metadata={"made": "here"})
    refused("a container that exists", 409, "ContainerAlreadyExists",
            lambda: service.create_container(name))
    assert client.get_container_properties().metadata == {"made": "here"}
    names = sorted(f"hub/{n % 3}/letter {n} é&<.json" for n in range(25))
    for one in names:
        client.upload_blob(one, one.encode(), metadata={"name": str(len(one))})
    pages = [list(page) for page in
             client.list_blobs(include=["metadata"], results_per_page=10).by_page()]
    assert [len(page) for page in pages] == [10, 10, 5], pages
    listed = [blob for page in pages for blob in page]
    assert [blob.name for blob in listed] == names, listed
    assert all(blob.metadata == {"name": str(len(blob.name))} for blob in listed)
    assert all(blob.size == len(blob.name.encode()) and blob.content_settings.content_md5
               for blob in listed)
    assert not next(iter(client.list_blobs())).metadata
    ok("a listing in pages, with metadata")
    below = client.list_blobs(name_starts_with="hub/1/")
    assert [blob.name for blob in below] == [n for n in names if n.startswith("hub/1/")]
    walked = [item.name for item in client.walk_blobs(name_starts_with="hub/", results_per_page=2)]
    assert walked == ["hub/0/", "hub/1/", "hub/2/"], walked
    ok("listings below a prefix and by folder")
    client.delete_container()
    refused("an absent container", 404, "ContainerNotFound", lambda: list(client.list_blobs()))
    absent = container("w", name=name)
    refused("an upload to an absent container", 404, "ContainerNotFound",
            lambda: absent.upload_blob("x", b"x"))
    service.create_container(name)
    absent.upload_blob("x", b"x")
    ok("the container created by shared key takes uploads")


def large():
    sizes = {"max_single_put_size": 64 * 1024, "max_block_size": 256 * 1024,
             "max_single_get_size": 300 * 1024, "max_chunk_get_size": 300 * 1024}
    content = os.urandom(3 * 1024 * 1024 + 7)
    for name, client in [
        ("shared key", ContainerClient.from_connection_string(
            scene["connectionString"], scene["name"], retry_total=0, **sizes)),
        ("a signature", ContainerClient.from_container_url(
            scene["sasUrl"], retry_total=0, **sizes)),
    ]:
        blob = client.get_blob_client(f"{run}/large {name}")
        blob.upload_blob(content, overwrite=False, max_concurrency=2, metadata={"large": "yes"})
        assert blob.download_blob(max_concurrency=2).readall() == content
        assert blob.get_blob_properties().metadata == {"large": "yes"}
        refused(f"blocks over a blob, with {name}", 409, "BlobAlreadyExists",
                lambda: blob.upload_blob(content, overwrite=False))
        ok(f"an upload by blocks and a download by ranges, with {name}")


def signatures():
    write = container("w")
    letter = f"{run}/write only"
    write.upload_blob(letter, b"1")
    write.upload_blob(letter, b"2", overwrite=True)
    ok("a signature that may only write")
    blob = write.get_blob_client(letter)
    denied = "AuthorizationPermissionMismatch"
    refused("reading with it", 403, denied, blob.download_blob)
    refused("the properties with it", 403, denied, blob.get_blob_properties)
    refused("listing with it", 403, denied, lambda: list(write.list_blobs()))
    refused("deleting with it", 403, denied, blob.delete_blob)
    refused("the container with it", 403, "AuthorizationFailure", write.get_container_properties)
    create = container("c")
    create.upload_blob(f"{run}/created", b"1")
    refused("a second upload where only creating is allowed", 403, "UnauthorizedBlobOverwrite",
            lambda: create.upload_blob(f"{run}/created", b"2"))
    refused("an upload with r", 403, denied, lambda: container("r").upload_blob(letter, b"3"))
    failed = "AuthenticationFailed"
    late = container("w", start=now - 2 * hour, expiry=now - hour)
    refused("an expired signature", 403, failed, lambda: late.upload_blob(letter, b"3"))
    early = container("w", start=now + hour, expiry=now + 2 * hour)
    refused("a signature of tomorrow", 403, failed, lambda: early.upload_blob(letter, b"3"))
    other = container("w", signed="another")
    refused("a signature of another container", 403, failed,
            lambda: other.upload_blob(letter, b"3"))
    refused("a signature for https", 403, "AuthorizationProtocolMismatch",
            lambda: container("w", protocol="https").upload_blob(letter, b"3"))
    bare = ContainerClient.from_container_url(scene["url"], retry_total=0)
    refused("no signature", 401, "NoAuthenticationInformation",
            lambda: bare.upload_blob(letter, b"3"))
    wrong = BlobServiceClient(service.url, credential={"account_name": account,
                              "account_key": "d3Jvbmc="}, retry_total=0)
    refused("a wrong account key", 403, failed, lambda: wrong.create_container("never"))
    sas = generate_blob_sas(account, scene["name"], letter, account_key=key, permission="r",
                            expiry=now + hour, content_type="text/plain")
    address = f"{scene['url']}/{letter}?{sas}"
    got = BlobClient.from_blob_url(address, retry_total=0).download_blob()
    assert got.readall() == b"2"
    assert got.properties.content_settings.content_type == "text/plain"
    ok("a signature for one blob, with a content type of its own")
    for types, operation, status in [("o", "upload", 0), ("c", "upload", 403), ("c", "list", 0)]:
        sas = generate_account_sas(account, key, resource_types=types, permission="wl",
                                   expiry=now + hour)
        client = ContainerClient.from_container_url(f"{scene['url']}?{sas}", retry_total=0)
        name = f"{operation} with an account signature for {types}"
        call = ((lambda: client.upload_blob(letter, b"4", overwrite=True))
                if operation == "upload" else (lambda: list(client.list_blobs())))
        if status:
            refused(name, status, "AuthorizationResourceTypeMismatch", call)
        else:
            call()
            ok(name)


def main():
    first_letters()
    listings()
    large()
    signatures()


def give_up():
    print("timed out", file=sys.stderr, flush=True)
    os._exit(1)


if __name__ == "__main__":
    watchdog = threading.Timer(RUN_SECONDS_MAX, give_up)
    watchdog.daemon = True
    watchdog.start()
    try:
        main()
    except BaseException as error:  # every failure is told with its reason
        print(f"failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)
