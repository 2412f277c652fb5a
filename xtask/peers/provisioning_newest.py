"""azure-mgmt-iothubprovisioningservices as it is shipped: with the api-version that it has by default."""

import adt
import arm
from azure.mgmt.iothubprovisioningservices import IotDpsClient
from azure.mgmt.iothubprovisioningservices import models as m

GROUP = "peers-rg"
NAME = "peers-dps-newest"
IDENTITY = ("/subscriptions/" + arm.SUBSCRIPTION + "/resourceGroups/rg/providers/Microsoft.ManagedIdentity/"
            "userAssignedIdentities/u1")
KEY = "a2V5LW9mLXRoZS1odWI="

client = IotDpsClient(subscription_id=arm.SUBSCRIPTION, base_url=arm.scene["base"], **arm.options())
services = client.iot_dps_resource
place = {"resource_group_name": GROUP, "provisioning_service_name": NAME}


def put(wanted):
    return services.begin_create_or_update(**place, iot_dps_description=wanted).result()


def what_is_new_is_shown_again():
    hubs = [
        m.IotHubDefinitionDescription(
            location="eastus",
            connection_string=f"HostName=h.azure-devices.net;SharedAccessKeyName=iothubowner;SharedAccessKey={KEY}"),
        m.IotHubDefinitionDescription(location="eastus", host_name="i.azure-devices.net",
                                      authentication_type="SystemAssigned"),
        m.IotHubDefinitionDescription(location="eastus", host_name="j.azure-devices.net",
                                      authentication_type="UserAssigned",
                                      selected_user_assigned_identity_resource_id=IDENTITY),
    ]
    wanted = m.ProvisioningServiceDescription(
        location="eastus", sku=m.IotDpsSkuInfo(name="S1", capacity=1),
        identity=m.ManagedServiceIdentity(type="SystemAssigned,UserAssigned",
                                          user_assigned_identities={IDENTITY: m.UserAssignedIdentity()}),
        properties=m.IotDpsPropertiesDescription(iot_hubs=hubs, disable_local_auth=True))
    made = put(wanted)
    properties = made.properties
    assert properties.disable_local_auth is True, properties
    assert made.identity.type == "SystemAssigned,UserAssigned" and made.identity.principal_id, made.identity
    kinds = [(hub.name, hub.authentication_type) for hub in properties.iot_hubs]
    assert kinds == [("h.azure-devices.net", None), ("i.azure-devices.net", "SystemAssigned"),
                     ("j.azure-devices.net", "UserAssigned")], kinds
    assert properties.iot_hubs[2].selected_user_assigned_identity_resource_id == IDENTITY, properties.iot_hubs
    adt.ok("identity, local authentication and hubs with identities are shown again")

    read = services.get(**place)
    read.properties.iot_hubs[0].allocation_weight = 7
    changed = put(read)
    assert changed.properties.iot_hubs[0].allocation_weight == 7, changed.properties.iot_hubs
    assert KEY not in str(changed.as_dict()), "a secret is shown"
    adt.ok("a service is read, changed and written back with its masks")


what_is_new_is_shown_again()
services.begin_delete(**place).result()
adt.ok("the service is gone")
