"""azure-mgmt-iothubprovisioningservices leads the whole life of a provisioning service."""

import datetime

import adt
import arm
from azure.core import MatchConditions
from azure.mgmt.iothubprovisioningservices import IotDpsClient
from azure.mgmt.iothubprovisioningservices import models as m
from certificates import authority, certificate, pem
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

GROUP = "peers-rg"
NAME = "peers-dps-python"
HUB_KEY = "a2V5LW9mLXRoZS1odWI="

client = IotDpsClient(subscription_id=arm.SUBSCRIPTION, base_url=arm.scene["base"],
                      api_version="2022-12-12", **arm.options())
services = client.iot_dps_resource
place = {"resource_group_name": GROUP, "provisioning_service_name": NAME}


def description(**more):
    return m.ProvisioningServiceDescription(
        location="eastus", sku=m.IotDpsSkuInfo(name="S1", capacity=1),
        properties=m.IotDpsPropertiesDescription(**more))


def put(wanted, **options):
    return services.begin_create_or_update(**place, iot_dps_description=wanted, **options).result()


def service_lives():
    asked = m.OperationInputs(name=NAME)
    assert services.check_provisioning_service_name_availability(asked).name_available
    hub = m.IotHubDefinitionDescription(
        location="eastus", allocation_weight=1,
        connection_string=f"HostName=h.azure-devices.net;SharedAccessKeyName=iothubowner;SharedAccessKey={HUB_KEY}")
    made = put(description(iot_hubs=[hub]))
    assert (made.name, made.location, made.sku.tier) == (NAME, "eastus", "Standard"), made
    assert made.properties.state == "Active" and made.properties.id_scope.startswith("0ne"), made.properties
    assert made.properties.iot_hubs[0].name == "h.azure-devices.net", made.properties.iot_hubs
    assert HUB_KEY not in str(made.as_dict()), "a secret is shown"
    assert not services.check_provisioning_service_name_availability(asked).name_available
    assert NAME in arm.names(services.list_by_subscription()), "list_by_subscription"
    assert NAME in arm.names(services.list_by_resource_group(resource_group_name=GROUP)), "by group"
    assert [sku.name for sku in services.list_valid_skus(**place)] == ["S1"]
    adt.ok("a service is created, found and its name taken")

    changed = put(description(allocation_policy="GeoLatency"), headers={"If-Match": f'"{made.etag}"'})
    assert changed.properties.allocation_policy == "GeoLatency" and changed.etag != made.etag, changed
    error = arm.refused(412, 412001, put, description(), headers={"If-Match": made.etag})
    assert error.model.http_status_code == "PreconditionFailed", error.model
    stale = description()
    stale.etag = made.etag
    arm.refused(412, 412001, put, stale)
    assert services.get(**place).etag == changed.etag, "a refused change changed the etag"
    patched = services.begin_update(**place, provisioning_service_tags=m.TagsResource(tags={"a": "b"})).result()
    assert patched.tags == {"a": "b"} and patched.properties.allocation_policy == "GeoLatency", patched
    adt.ok("a service is changed where its etag is known, and its tags")

    keys = list(services.list_keys(**place))
    assert [key.key_name for key in keys] == ["provisioningserviceowner"], keys
    one = services.list_keys_for_key_name(key_name="provisioningserviceowner", **place)
    assert one.primary_key and one.primary_key == keys[0].primary_key, "keys"
    rule = m.SharedAccessSignatureAuthorizationRuleAccessRightsDescription(
        key_name="enroll", rights="EnrollmentWrite")
    put(description(authorization_policies=[rule]))
    assert [key.key_name for key in services.list_keys(**place)] == ["enroll"]
    assert services.get(**place).properties.authorization_policies is None
    adt.ok("keys are listed, made and never shown")


def certificates_live():
    certificates = client.dps_certificate
    key = ec.generate_private_key(ec.SECP256R1())
    ca = authority("twinroute devices", key)
    with open(arm.scene["deviceCa"], "wb") as file:
        file.write(pem(ca))
    der = ca.public_bytes(serialization.Encoding.DER)
    named = {**place, "certificate_name": "devices"}
    wanted = m.CertificateResponse(properties=m.CertificateProperties(certificate=der))
    made = certificates.create_or_update(**named, certificate_description=wanted)
    assert not made.properties.is_verified and "twinroute devices" in made.properties.subject, made.properties
    assert isinstance(made.properties.expiry, datetime.datetime), made.properties
    assert arm.names(certificates.list(**place).value) == ["devices"], "list"

    def known(etag):
        return {"etag": etag, "match_condition": MatchConditions.IfNotModified}

    arm.refused(412, 412001, certificates.generate_verification_code, **named, **known("c3RhbGU="))
    code = certificates.generate_verification_code(**named, **known(made.etag))
    leaf_key = ec.generate_private_key(ec.SECP256R1())
    leaf = certificate(code.properties.verification_code, leaf_key, "twinroute devices", key, [])
    wrong = m.VerificationCodeRequest(certificate=pem(ca).decode())
    arm.refused(400, None, certificates.verify_certificate, **named, request=wrong, **known(code.etag))
    proof = m.VerificationCodeRequest(certificate=pem(leaf).decode())
    verified = certificates.verify_certificate(**named, request=proof, **known(code.etag))
    assert verified.properties.is_verified, verified.properties
    certificates.delete(**named, **known(verified.etag))
    arm.refused(404, None, certificates.get, **named)
    adt.ok("a certificate is stored, verified and deleted")


def connections_live():
    resources = {"resource_group_name": GROUP, "resource_name": NAME}
    group = services.list_private_link_resources(**resources).value[0]
    assert group.properties.group_id == "iotDps", group
    named = {**resources, "private_endpoint_connection_name": "from-peers"}
    state = m.PrivateLinkServiceConnectionState(status="Approved", description="said so")
    wanted = m.PrivateEndpointConnection(
        properties=m.PrivateEndpointConnectionProperties(private_link_service_connection_state=state))
    services.begin_create_or_update_private_endpoint_connection(
        **named, private_endpoint_connection=wanted).result()
    listed = services.list_private_endpoint_connections(**resources)
    assert arm.names(listed) == ["from-peers"], listed
    services.begin_delete_private_endpoint_connection(**named).result()
    arm.refused(404, None, services.get_private_endpoint_connection, **named)
    adt.ok("a private endpoint connection is approved and deleted")


def main():
    service_lives()
    certificates_live()
    connections_live()
    arm.refused(404, "ResourceNotFound", services.get, resource_group_name=GROUP,
                provisioning_service_name="nobody-knows")
    services.begin_delete(**place).result()
    arm.refused(404, "ResourceNotFound", services.get, **place)
    adt.ok("a service is deleted")


adt.run_check(main, seconds_max=80)
