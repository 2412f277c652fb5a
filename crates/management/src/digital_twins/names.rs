//! Names below Microsoft.DigitalTwins.

use crate::arm::error::Error;
use twinroute_model::name::{EndpointName, InstanceName};

pub(crate) fn check_instance(name: &str) -> Result<InstanceName, Error> {
    InstanceName::new(name).map_err(|error| refuse(name, &error))
}

/// Endpoints and time series database connections share a rule.
pub(crate) fn check_endpoint(name: &str) -> Result<EndpointName, Error> {
    EndpointName::new(name).map_err(|error| refuse(name, &error))
}

fn refuse(name: &str, error: &twinroute_model::name::InvalidName) -> Error {
    Error::InvalidName {
        name: name.to_owned(),
        rule: error.rule().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_reported() {
        let text = check_endpoint("a_b").unwrap_err().to_string();
        assert_eq!(
            text,
            "The name 'a_b' is not valid: consists of letters, digits and hyphens."
        );
    }
}
