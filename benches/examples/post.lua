-- One structured CloudEvent of about 1,100 bytes a request; see ingress.rs.
wrk.method = "POST"
wrk.headers["content-type"] = "application/cloudevents+json"
local patch = {}
for i = 1, 6 do
  patch[i] = string.format(
    '{"value":%d.5,"path":"/properties/measurement%d/currentValue","op":"replace"}', 20 + i, i)
end
wrk.body = '{"specversion":"1.0","id":"4d850574-0a28-4667-a59e-3b382ff0e74e",' ..
  '"type":"Microsoft.DigitalTwins.Twin.Update",' ..
  '"source":"my-example-digital-twin.api.sea.digitaltwins.azure.net",' ..
  '"subject":"building-4-floor-2-room-117-sensor-9","time":"2021-12-09T20:28:53.2016395Z",' ..
  '"datacontenttype":"application/json",' ..
  '"traceparent":"00-2aa957558db348f387ef704b37631a1d-590d733a1b798149-01",' ..
  '"data":{"modelId":"dtmi:example:building:Sensor;1","patch":[' .. table.concat(patch, ",") ..
  ']},"padding":"' .. string.rep("x", 160) .. '"}'
