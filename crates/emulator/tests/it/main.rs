//! The stand-ins, driven over loopback by `fe2o3-amqp` as a client and by plain HTTP.

mod client;
mod event_grid;
mod event_hubs;
mod faults;
mod service_bus;
