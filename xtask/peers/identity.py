"""Azure's own clients log in at the emulator in every way, and read its key vault."""

import os

import jwt
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceNotFoundError
from azure.identity import (CertificateCredential, ClientSecretCredential, ManagedIdentityCredential,
                            WorkloadIdentityCredential)
from azure.keyvault.secrets import SecretClient

from adt import ok, run_check, scene

HUBS = "https://eventhubs.azure.net"


class Verifier:
    """Holds tokens against the keys that the discovery document names, as any service would."""

    def __init__(self, entra, tenant):
        self.issuer = f"https://sts.windows.net/{tenant}/"
        self.keys = jwt.PyJWKClient(f"{entra}/{tenant}/discovery/v2.0/keys")

    def claims(self, token, audience=HUBS):
        key = self.keys.get_signing_key_from_jwt(token)
        return jwt.decode(token, key, algorithms=["ES256"], audience=audience, issuer=self.issuer)


def refused(what, kind, ask):
    try:
        ask()
    except kind as error:
        return str(error)
    raise AssertionError(f"{what} was granted")


def machine(at, verifier, user_assigned):
    """IMDS by its variable, then App Service by its own two."""
    doors = [("imds", {"AZURE_POD_IDENTITY_AUTHORITY_HOST": at["machine"]}),
             ("app-service", {"IDENTITY_ENDPOINT": at["machine"] + "/msi/token", "IDENTITY_HEADER": at["header"]})]
    for name, variables in doors:
        os.environ.update(variables)
        token = ManagedIdentityCredential().get_token(HUBS + "/.default").token
        claims = verifier.claims(token)
        assert claims["tid"] == at["tenant"] and claims["idtyp"] == "app", claims
        chosen = ManagedIdentityCredential(identity_config={"resource_id": user_assigned})
        claims = verifier.claims(chosen.get_token(HUBS + "/.default").token)
        assert claims["xms_mirid"] == user_assigned, claims
        stranger = ManagedIdentityCredential(client_id="no-such-identity")
        text = refused(f"{name}: a stranger", (ClientAuthenticationError, HttpResponseError),
                       lambda: stranger.get_token(HUBS + "/.default"))
        assert "Identity not found" in text or "invalid_request" in text, text
        ok(f"managed identity, {name}")
        for variable in variables:
            del os.environ[variable]


def applications(at, verifier, certificate):
    common = {"authority": at["entra"], "disable_instance_discovery": True}
    tenant, client = at["tenant"], at["clientId"]
    logins = [
        ("client secret", ClientSecretCredential(tenant, client, at["clientSecret"], **common)),
        ("client certificate", CertificateCredential(tenant, client, certificate, **common)),
        ("workload identity", WorkloadIdentityCredential(tenant_id=tenant, client_id=client,
                                                         token_file_path=at["tokenFile"], **common)),
    ]
    for name, credential in logins:
        # Two slashes, as azure-eventhub asks: the audience keeps one.
        token = credential.get_token(HUBS + "//.default").token
        claims = verifier.claims(token, HUBS + "/")
        assert claims["appid"] == client, claims
        ok(name)
    wrong = ClientSecretCredential(tenant, client, "wrong", **common)
    text = refused("a wrong secret", ClientAuthenticationError, lambda: wrong.get_token(HUBS + "/.default"))
    assert "AADSTS7000215" in text, text
    other = WorkloadIdentityCredential(tenant_id=tenant, client_id=client, token_file_path=certificate, **common)
    text = refused("a file that is no token", ClientAuthenticationError,
                   lambda: other.get_token(HUBS + "/.default"))
    assert "AADSTS50027" in text, text
    ok("refusals")
    return logins[0][1]


def vault(at, credential):
    # The emulator is not below vault.azure.net.
    client = SecretClient(at["entra"], credential, verify_challenge_resource=False)
    assert client.get_secret("hub-1--connectionStringPrimaryKey").value == "from=the;vault"
    names = {one.name for one in client.list_properties_of_secrets()}
    assert len(names) == 31 and "more-29" in names, names
    refused("a secret that is not there", ResourceNotFoundError, lambda: client.get_secret("none"))
    ok("key vault")


def main():
    at = scene()
    # For azure-identity and azure-keyvault-secrets (requests), and for PyJWT (ssl).
    os.environ["REQUESTS_CA_BUNDLE"] = os.environ["SSL_CERT_FILE"] = at["ca"]
    verifier = Verifier(at["entra"], at["tenant"])
    machine(at, verifier, at["userAssigned"])
    vault(at, applications(at, verifier, at["certificate"]))


run_check(main, 60)
