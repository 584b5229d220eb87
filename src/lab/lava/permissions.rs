//! Probes the rights of a token. Tokens with administrative rights are refused: a token that is stolen from a build machine
//! would give away the lab.
//!
//! LAVA has no API for the rights of a user, so each right is probed by its effect. Each probe has a positive control, and
//! anything unexpected is an error. Verified on LAVA 2023.01, and by its source from 2020.02 to 2026.07.

use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use super::response::Answer;
use super::server::{ApiCall, MAX_ANSWER, Server};
use super::{LavaError, Unusable};

/// Part of every page for a logged-in user.
const LOGOUT: &str = "/accounts/logout/";

/// The suffix of the administration link, which only staff see.
const ADMIN: &str = "/admin/";

/// LAVA's message for a missing right. A bad token gets another message with the same status.
const NO_PERMISSION: &str = "You do not have permission";

/// The user of the token.
pub(super) async fn user(server: &Server) -> Result<String, Unusable> {
    #[derive(Deserialize)]
    struct Who {
        user: String,
    }
    let answer = server.call(&ApiCall::get(&["system", "whoami"]), MAX_ANSWER).await?;
    if matches!(answer.status.as_u16(), 401 | 403) {
        return Err(Unusable::BadToken(answer.reason().unwrap_or_else(|| answer.status.to_string())));
    }
    let Who { user } = answer.json()?;
    if user.is_empty() {
        return Err(Unusable::BadToken("the lab takes us for nobody".to_owned()));
    }
    if user != server.user {
        return Err(Unusable::OtherUser { is: crate::text::one_line(&user), expected: server.user.clone() });
    }
    Ok(user)
}

/// Refuses a superuser: only superusers may list permissions.
pub(super) async fn not_superuser(server: &Server) -> Result<(), Unusable> {
    let call = ApiCall::get(&["permissions", "devicetypes"]).with("limit", "1");
    let answer = server.call(&call, MAX_ANSWER).await?;
    match answer.status.as_u16() {
        200 => Err(Unusable::Superuser),
        403 if answer.reason().is_some_and(|reason| reason.starts_with(NO_PERMISSION)) => Ok(()),
        _ => Err(unproven(&answer, "whether we are a superuser")),
    }
}

/// Refuses staff: pages for staff link to the administration.
pub(super) async fn not_staff(server: &Server) -> Result<(), Unusable> {
    let answer = server.call(&ApiCall::get(&["system", "whoami"]).accepting("text/html"), MAX_ANSWER).await?;
    let page = String::from_utf8_lossy(&answer.body);
    if answer.status.as_u16() != 200
        || !answer.content_type.starts_with("text/html")
        || !page.contains(LOGOUT)
    {
        return Err(unproven(&answer, "whether we are staff"));
    }
    if links(&page).any(|link| link.ends_with(ADMIN)) { Err(Unusable::Staff) } else { Ok(()) }
}

/// The link targets of a page.
fn links(page: &str) -> impl Iterator<Item = &str> {
    page.split("href=").skip(1).filter_map(|rest| {
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        rest[1..].split_once(quote).map(|(link, _)| link)
    })
}

/// Refuses users who may add devices, or change `device`.
pub(super) async fn not_device_administrator(server: &Server, device: Option<&str>) -> Result<(), Unusable> {
    if may(server, &["devices"], "POST").await? {
        return Err(Unusable::DeviceAdministrator("add devices".to_owned()));
    }
    if let Some(device) = device
        && may(server, &["devices", device], "PUT").await?
    {
        let device = crate::text::one_line(device);
        return Err(Unusable::DeviceAdministrator(format!("change the device {device}")));
    }
    Ok(())
}

/// Whether the user may use a method on a resource: `OPTIONS` only describes permitted methods.
pub(super) async fn may(server: &Server, resource: &[&str], method: &str) -> Result<bool, LavaError> {
    let answer = server.call(&ApiCall::new(Method::OPTIONS, resource), MAX_ANSWER).await?;
    let options: Value = answer.json()?;
    if !options.get("renders").is_some_and(Value::is_array) {
        return Err(answer.unexpected("it does not tell what may be done"));
    }
    Ok(options.get("actions").is_some_and(|actions| actions.get(method).is_some()))
}

fn unproven(answer: &Answer, what: &str) -> Unusable {
    match answer.refusal() {
        LavaError::Failed(text) => Unusable::Unexpected(format!("it does not show {what}: {text}")),
        _ => Unusable::Unexpected(format!("it does not show {what}: {}: {}", answer.what, answer.status)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_in_both_kinds_of_quotes() {
        let page =
            r#"<a href="/lab/admin/">a</a> <a class=x href='/b'>b</a> <a href=/c>c</a> href="unclosed"#;
        assert_eq!(links(page).collect::<Vec<_>>(), ["/lab/admin/", "/b"]);
        assert_eq!(links("href=").count(), 0);
        assert_eq!(links("href=ä").count(), 0);
    }
}
