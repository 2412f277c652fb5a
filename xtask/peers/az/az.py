"""The Azure CLI, as it is shipped, against a router's management API over HTTPS.

The CLI logs in with the identity endpoint of an app service, which this script is: that is the one login that needs
no address of Azure's. Its configuration stands in a folder of its own.
"""

import http.server
import json
import os
import subprocess
import sys
import threading
import time

SCENE = json.loads(os.environ["TWINROUTE_EMULATOR"])
GROUP = "rg"
HUB = "HostName=h.azure-devices.net;SharedAccessKeyName=iothubowner;SharedAccessKey=c2VjcmV0"


class IdentityEndpoint(http.server.BaseHTTPRequestHandler):
    """Hands out the token that the router takes."""

    def do_GET(self):  # noqa: N802, the name is the library's
        body = json.dumps({
            "access_token": SCENE["token"], "expires_on": str(int(time.time()) + 86_400),
            "resource": "https://management.azure.com/", "token_type": "Bearer",
        }).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


identity = http.server.ThreadingHTTPServer(("127.0.0.1", 0), IdentityEndpoint)
threading.Thread(target=identity.serve_forever, daemon=True).start()

ENVIRONMENT = dict(
    os.environ,
    AZURE_CONFIG_DIR=os.path.join(SCENE["folder"], "az"),
    AZURE_CORE_COLLECT_TELEMETRY="false",
    AZURE_CORE_NO_COLOR="true",
    AZURE_CORE_OUTPUT="json",
    AZURE_CORE_ONLY_SHOW_ERRORS="true",
    AZURE_CORE_SURVEY_MESSAGE="false",
    IDENTITY_ENDPOINT=f"http://127.0.0.1:{identity.server_port}/token",
    IDENTITY_HEADER="of-the-check",
    NO_PROXY="localhost,127.0.0.1",
    REQUESTS_CA_BUNDLE=SCENE["ca"],
)


def az(*words, fails=False):
    """Runs one command; gives what it printed, read as JSON."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "azure.cli", *words],
        env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False,
    )
    print(f"{time.monotonic() - started:5.1f} s  az {' '.join(words)}", flush=True)
    if (done.returncode != 0) != fails:
        raise SystemExit(f"az {words} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    if fails:
        return done.stderr
    return json.loads(done.stdout) if done.stdout.strip() else None


def check(condition, what):
    if not condition:
        raise SystemExit(f"FAILED: {what}")


base = SCENE["base"]
az("cloud", "register", "-n", "twinroute", "--skip-endpoint-discovery",
   "--endpoint-resource-manager", base, "--endpoint-management", "https://management.azure.com/",
   "--endpoint-active-directory", "https://login.twinroute.test",
   "--endpoint-active-directory-resource-id", "https://management.azure.com/",
   "--endpoint-active-directory-graph-resource-id", "https://graph.twinroute.test/", "--profile", "latest")
az("cloud", "set", "-n", "twinroute")
accounts = az("login", "--identity")
check(accounts and accounts[0]["state"] == "Enabled", f"a subscription after the login: {accounts}")

az("group", "create", "-n", GROUP, "-l", "westus2")
TWINS = "Microsoft.DigitalTwins/digitalTwinsInstances"
made = az("resource", "create", "-g", GROUP, "-n", "plant", "--resource-type", TWINS, "-l", "westus2",
          "--properties", "{}")
check(made["properties"]["provisioningState"] == "Succeeded", f"an instance: {made}")
shown = az("resource", "show", "-g", GROUP, "-n", "plant", "--resource-type", TWINS)
check(shown["name"] == "plant", f"{shown}")
az("resource", "update", "-g", GROUP, "-n", "plant", "--resource-type", TWINS, "--set", "tags.site=north")
listed = az("resource", "list", "-g", GROUP)
check([one["name"] for one in listed] == ["plant"], f"{listed}")
listed = az("resource", "list", "--resource-type", TWINS)
check([one["tags"] for one in listed] == [{"site": "north"}], f"{listed}")
az("provider", "show", "-n", "Microsoft.DigitalTwins")
check(any(one["name"] == "westus2" for one in az("account", "list-locations")), "locations")

# An endpoint is a child without a location; the CLI makes none without, so it is kept and shown again.
ENDPOINT = ["-g", GROUP, "-n", "grid", "--namespace", "Microsoft.DigitalTwins", "--parent", "digitalTwinsInstances/plant",
            "--resource-type", "endpoints"]
full = {"location": "westus2", "properties": {"endpointType": "EventGrid", "TopicEndpoint": SCENE["topic"], "accessKey1": "first",
                       "accessKey2": "second"}}
az("resource", "create", *ENDPOINT, "--is-full-object", "--properties", json.dumps(full))
shown = az("resource", "show", *ENDPOINT)
check(shown["properties"]["accessKey1"] == "***", f"{shown}")
# Reads, changes, writes back: the keys stay behind their masks.
az("resource", "update", *ENDPOINT, "--set", "properties.accessKey2=third")
state = az("resource", "show", *ENDPOINT)["properties"]["provisioningState"]
check(state == "Succeeded", f"after an update: {state}")
az("resource", "delete", *ENDPOINT)
gone = az("resource", "show", *ENDPOINT, fails=True)
check("NotFound" in gone, gone)

az("iot", "dps", "create", "-g", GROUP, "-n", "dps1", "-l", "westus2")
az("iot", "dps", "update", "-g", GROUP, "-n", "dps1", "--set", "properties.allocationPolicy=GeoLatency")
az("iot", "dps", "linked-hub", "create", "-g", GROUP, "--dps-name", "dps1", "--connection-string", HUB,
   "-l", "westus2")
az("iot", "dps", "linked-hub", "update", "-g", GROUP, "--dps-name", "dps1", "--linked-hub", "h.azure-devices.net",
   "--allocation-weight", "10", "--apply-allocation-policy", "true")
hub = az("iot", "dps", "linked-hub", "show", "-g", GROUP, "--dps-name", "dps1", "--linked-hub", "h.azure-devices.net")
check(hub["allocationWeight"] == 10, f"{hub}")
check(hub["connectionString"].endswith("SharedAccessKey=****"), f"{hub}")
az("iot", "dps", "policy", "create", "-g", GROUP, "--dps-name", "dps1", "--pn", "reader", "-r", "EnrollmentRead")
az("iot", "dps", "policy", "update", "-g", GROUP, "--dps-name", "dps1", "--pn", "reader", "-r", "ServiceConfig")
names = [one["keyName"] for one in az("iot", "dps", "policy", "list", "-g", GROUP, "--dps-name", "dps1")]
check(names == ["provisioningserviceowner", "reader"], f"{names}")
az("iot", "dps", "policy", "delete", "-g", GROUP, "--dps-name", "dps1", "--pn", "reader")
az("iot", "dps", "linked-hub", "delete", "-g", GROUP, "--dps-name", "dps1", "--linked-hub", "h.azure-devices.net")
az("iot", "dps", "delete", "-g", GROUP, "-n", "dps1")
az("resource", "delete", "-g", GROUP, "-n", "plant", "--resource-type", TWINS)
gone = az("resource", "show", "-g", GROUP, "-n", "plant", "--resource-type", TWINS, fails=True)
check("NotFound" in gone, gone)
print("ok: the Azure CLI leads whole lives of resources")
