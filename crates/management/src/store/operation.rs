//! An operation as it is stored: begun with a change of a resource, ended when provisioning is through.

use super::record::ResourceRecord;
use crate::arm::id::ResourceId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use twinroute_model::clock::Timestamp;
use uuid::Uuid;

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum OperationStep {
    Create,
    Update,
    Delete,
}

impl OperationStep {
    /// The step that puts something in the place of `before`.
    pub(crate) fn over(before: Option<&ResourceRecord>) -> Self {
        match before {
            Some(_) => Self::Update,
            None => Self::Create,
        }
    }
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum OperationStatus {
    Running,
    Succeeded,
    Failed,
}

impl OperationStatus {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        }
    }
}

/// Why it failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OperationFailure {
    pub(crate) code: String,
    pub(crate) message: String,
}

impl OperationFailure {
    /// As it is shown.
    pub(crate) fn body(&self) -> Value {
        json!({ "code": self.code, "message": self.message })
    }
}

/// What provisioning found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ProvisioningVerdict {
    Good,
    /// It is in use; something may still have to be done about it.
    Warning(OperationFailure),
    /// It is not used until it is changed.
    Bad(OperationFailure),
}

/// One operation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ArmOperation {
    pub(crate) id: Uuid,
    /// The key of the resource.
    pub(crate) key: String,
    /// The id of the resource.
    pub(crate) resource: String,
    pub(crate) step: OperationStep,
    pub(crate) status: OperationStatus,
    pub(crate) started: String,
    pub(crate) ended: Option<String>,
    pub(crate) failure: Option<OperationFailure>,
}

impl ArmOperation {
    pub(crate) fn begin(id: &ResourceId, step: OperationStep, now: Timestamp) -> Self {
        Self {
            id: Uuid::new_v4(),
            key: id.key(),
            resource: id.to_string(),
            step,
            status: OperationStatus::Running,
            started: now.rfc3339(),
            ended: None,
            failure: None,
        }
    }

    pub(crate) fn end(&self, failure: Option<OperationFailure>, now: Timestamp) -> Self {
        let status = match failure {
            None => OperationStatus::Succeeded,
            Some(_) => OperationStatus::Failed,
        };
        Self {
            status,
            ended: Some(now.rfc3339()),
            failure,
            ..self.clone()
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.status == OperationStatus::Running
    }

    pub(crate) fn resource_id(&self) -> Option<ResourceId> {
        ResourceId::parse(&self.resource)
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts are JSON")
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}
