//! Names of instances, endpoints and routes.

/// ```
/// use twinroute::name::EndpointName;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// assert_eq!(EndpointName::new("archive")?.as_str(), "archive");
/// let refused = EndpointName::new("an archive").unwrap_err();
/// assert!(refused.to_string().contains(refused.rule()));
/// # Ok(())
/// # }
/// ```
pub use twinroute_model::name::EndpointName;
/// ```
/// use twinroute::name::InstanceName;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// assert_eq!(InstanceName::new("plant-2")?.as_str(), "plant-2");
/// # Ok(())
/// # }
/// ```
pub use twinroute_model::name::InstanceName;
pub use twinroute_model::name::InvalidName;
/// ```
/// use twinroute::name::RouteId;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// assert_eq!(RouteId::new("warm")?.as_str(), "warm");
/// # Ok(())
/// # }
/// ```
pub use twinroute_model::name::RouteId;
