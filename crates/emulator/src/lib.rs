//! Local stand-ins for Event Grid topics, Event Hubs and Service Bus.
mod amqp;
