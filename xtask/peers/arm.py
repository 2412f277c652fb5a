"""Clients of the management plane and what their scripts share.

Over HTTPS they are as Microsoft ships them, with a credential that hands out one token. Over plain HTTP,
which their own token policy refuses, another policy of theirs sends the token."""

import time

import adt
from azure.core.credentials import AccessToken, AzureKeyCredential
from azure.core.exceptions import HttpResponseError
from azure.core.pipeline.policies import AzureKeyCredentialPolicy

SUBSCRIPTION = "8f2b1c64-5a0e-4d6b-9b1f-2f6f3c1d7e90"

scene = adt.scene()


class StaticToken:
    def get_token(self, *_scopes, **_options):
        return AccessToken(scene["token"], int(time.time()) + 3600)


def options():
    """What every client is made with."""
    options = {"retry_total": 0, "polling_interval": 1}
    if scene["base"].startswith("https:"):
        return options | {"credential": StaticToken(), "connection_verify": scene["ca"]}
    key = AzureKeyCredential(scene["token"])
    policy = AzureKeyCredentialPolicy(key, "Authorization", prefix="Bearer")
    return options | {"credential": StaticToken(), "authentication_policy": policy}


def url(host_name):
    """Where the data plane of an instance is."""
    return f"{scene['base'].split('://')[0]}://{host_name}"


def refused(status, code, call, *arguments, **keywords):
    """The call must be refused so; gives the error."""
    try:
        result = call(*arguments, **keywords)
        if hasattr(result, "result"):
            result = result.result()
    except HttpResponseError as error:
        found = error.error.code if error.error else None
        assert error.status_code == status, f"{error.status_code}, not {status}: {error}"
        assert code in (found, None), f"{found}, not {code}: {error}"
        return error
    raise AssertionError(f"it was taken, not refused with {status} {code}: {result}")


def names(listed):
    return sorted(item.name for item in listed)
