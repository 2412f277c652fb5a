//! Protocol clients for Event Grid topics, Event Hubs and Service Bus topics.
