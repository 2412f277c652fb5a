//! The filter language of Azure Digital Twins event routes.
