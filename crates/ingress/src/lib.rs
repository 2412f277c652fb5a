//! HTTP in: CloudEvents and the Event Grid publish surface.
