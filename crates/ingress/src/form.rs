//! What a request says it carries, read from its headers.

use crate::cloudevents;
use crate::error::IngressRefusal;
use crate::event_grid::{self, BodyFormat, WebhookKind};
use crate::target::IngressSurface;
use http::header;
use http::request::Parts;
use twinroute_model::cloudevents::http::ContentMode;

/// What a request says it carries.
#[derive(Clone, Copy)]
pub(crate) enum RequestForm {
    CloudEvents(ContentMode),
    EventGrid(BodyFormat),
    /// A delivery of a sender that does not repeat what it is told is wrong.
    Notification,
    /// The handshake of a webhook subscription.
    Validation,
    /// Word that a webhook subscription is gone.
    Deletion,
}

pub(crate) fn request_form(
    head: &Parts,
    surface: IngressSurface,
) -> Result<RequestForm, IngressRefusal> {
    let delivery = WebhookKind::of(&head.headers)?;
    match (surface, delivery) {
        (_, Some(WebhookKind::SubscriptionValidation)) => Ok(RequestForm::Validation),
        (_, Some(WebhookKind::SubscriptionDeletion)) => Ok(RequestForm::Deletion),
        (_, Some(WebhookKind::Notification)) => Ok(RequestForm::Notification),
        (IngressSurface::Events, None) => {
            cloudevents::content_mode(&head.headers).map(RequestForm::CloudEvents)
        }
        (IngressSurface::EventGrid, None) => {
            let is_binary = event_grid::is_binary(&head.headers);
            event_grid::check_api_version(&head.uri, !is_binary)?;
            match is_binary {
                true => Ok(RequestForm::CloudEvents(ContentMode::Binary)),
                false => event_grid::format(&head.headers).map(RequestForm::EventGrid),
            }
        }
    }
}

/// Refuses a body that is missing, before it is waited for.
pub(crate) fn check_body(
    head: &Parts,
    body: &impl http_body::Body,
    form: RequestForm,
) -> Result<(), IngressRefusal> {
    let optional = matches!(
        form,
        RequestForm::CloudEvents(ContentMode::Binary)
            | RequestForm::Notification
            | RequestForm::Deletion
    );
    let announced = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING]
        .iter()
        .any(|name| head.headers.contains_key(name));
    if !optional && !announced && body.is_end_stream() {
        return Err(IngressRefusal::LengthRequired);
    }
    Ok(())
}
