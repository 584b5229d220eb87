//! Who we are at a lab, asked with the token itself. Nobody who may administer the lab may submit for us: a token that is
//! stolen from a build machine would give away the lab.
//!
//! LAVA has no answer to "what may I do?", so each right shows by what the lab does with it. Each probe has a positive
//! control; anything unexpected counts as a refusal. They hold on LAVA 2023.01, and by its source from 2020.02 to 2026.07.

use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use super::answer::Answer;
use super::ask::{Ask, MAX_ANSWER, Server};
use super::{LavaError, Unusable};

/// Part of every page that is made for somebody who is known.
const LOGOUT: &str = "/accounts/logout/";

/// The end of the link that staff, and nobody else, gets on every page.
const ADMIN: &str = "/admin/";

/// What LAVA says to those who lack a right. A bad token is told something else with the same status.
const NO_PERMISSION: &str = "You do not have permission";

/// Whose token it is.
pub(super) async fn user(server: &Server) -> Result<String, Unusable> {
    #[derive(Deserialize)]
    struct Who {
        user: String,
    }
    let answer = server.ask(&Ask::get(&["system", "whoami"]), MAX_ANSWER).await?;
    if matches!(answer.status.as_u16(), 401 | 403) {
        return Err(Unusable::BadToken(answer.reason().unwrap_or_else(|| answer.status.to_string())));
    }
    let Who { user } = answer.json()?;
    if user.is_empty() {
        return Err(Unusable::BadToken("the lab takes us for nobody".to_owned()));
    }
    if user != server.user {
        return Err(Unusable::OtherUser { is: crate::net::plain(&user), expected: server.user.clone() });
    }
    Ok(user)
}

/// Refuses a superuser: superusers alone may list permissions.
pub(super) async fn not_superuser(server: &Server) -> Result<(), Unusable> {
    let ask = Ask::get(&["permissions", "devicetypes"]).with("limit", "1");
    let answer = server.ask(&ask, MAX_ANSWER).await?;
    match answer.status.as_u16() {
        200 => Err(Unusable::Superuser),
        403 if answer.reason().is_some_and(|reason| reason.starts_with(NO_PERMISSION)) => Ok(()),
        _ => Err(unproven(&answer, "whether we are a superuser")),
    }
}

/// Refuses staff: pages made for staff link to the administration.
pub(super) async fn not_staff(server: &Server) -> Result<(), Unusable> {
    let answer = server.ask(&Ask::get(&["system", "whoami"]).accepting("text/html"), MAX_ANSWER).await?;
    let page = String::from_utf8_lossy(&answer.body);
    if answer.status.as_u16() != 200
        || !answer.content_type.starts_with("text/html")
        || !page.contains(LOGOUT)
    {
        return Err(unproven(&answer, "whether we are staff"));
    }
    if links(&page).any(|link| link.ends_with(ADMIN)) { Err(Unusable::Staff) } else { Ok(()) }
}

/// The targets of the links of a page.
fn links(page: &str) -> impl Iterator<Item = &str> {
    page.split("href=").skip(1).filter_map(|rest| {
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        rest[1..].split_once(quote).map(|(link, _)| link)
    })
}

/// Refuses whoever may add devices, or change this one.
pub(super) async fn not_device_administrator(server: &Server, device: Option<&str>) -> Result<(), Unusable> {
    if may(server, &["devices"], "POST").await? {
        return Err(Unusable::DeviceAdministrator("add devices".to_owned()));
    }
    if let Some(device) = device
        && may(server, &["devices", device], "PUT").await?
    {
        let device = crate::net::plain(device);
        return Err(Unusable::DeviceAdministrator(format!("change the device {device}")));
    }
    Ok(())
}

/// Whether we may do something to a thing: `OPTIONS` lists what to send with a method that we may use.
pub(super) async fn may(server: &Server, thing: &[&str], method: &str) -> Result<bool, LavaError> {
    let answer = server.ask(&Ask::new(Method::OPTIONS, thing), MAX_ANSWER).await?;
    let told: Value = answer.json()?;
    if !told.get("renders").is_some_and(Value::is_array) {
        return Err(answer.unexpected("it does not tell what may be done"));
    }
    Ok(told.get("actions").is_some_and(|actions| actions.get(method).is_some()))
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
    fn links_are_found_in_either_quotes() {
        let page =
            r#"<a href="/lab/admin/">a</a> <a class=x href='/b'>b</a> <a href=/c>c</a> href="unclosed"#;
        assert_eq!(links(page).collect::<Vec<_>>(), ["/lab/admin/", "/b"]);
        assert_eq!(links("href=").count(), 0);
        assert_eq!(links("href=ä").count(), 0);
    }
}
