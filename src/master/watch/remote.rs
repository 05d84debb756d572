//! Where a watched repository is, as a URL that git cannot read as anything else.

use std::fmt;
use std::str::FromStr;

use crate::model::{Text, TextError};

/// The URL of a remote: `https://`, `ssh://`, `file://`, `user@host:path` or an absolute path. Never an option, never a
/// transport helper, never with a password.
#[derive(Clone, Debug, Eq, PartialEq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct RemoteUrl(Text);

/// Why a remote's URL was not accepted. No message repeats the URL, which may hold a secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RemoteUrlError {
    /// Not one line of plain text.
    #[error("a remote's URL is one line of plain text")]
    Text(#[source] TextError),
    /// Git would read it as an option.
    #[error("a remote's URL, its user, host and path must not begin with `-`")]
    Option,
    /// Git would run a program of that name.
    #[error("a remote's URL must not hold `::`, which names a transport helper")]
    Helper,
    /// A secret in a file that others can read.
    #[error(
        "a remote's URL must not hold a password, nor with https:// a user: configurations can be read by others, so use \
         a public URL or ssh with a key"
    )]
    Credentials,
    /// None of the known forms.
    #[error(
        "a remote's URL is https://host/path, ssh://host/path, user@host:path, file:///path or an absolute path"
    )]
    Form,
}

impl RemoteUrl {
    /// The URL as git takes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl TryFrom<String> for RemoteUrl {
    type Error = RemoteUrlError;

    fn try_from(raw: String) -> Result<Self, RemoteUrlError> {
        let text = Text::try_from(raw).map_err(RemoteUrlError::Text)?;
        check(text.as_str())?;
        Ok(Self(text))
    }
}

impl FromStr for RemoteUrl {
    type Err = RemoteUrlError;

    fn from_str(raw: &str) -> Result<Self, RemoteUrlError> {
        raw.to_owned().try_into()
    }
}

impl fmt::Display for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn check(raw: &str) -> Result<(), RemoteUrlError> {
    if raw.starts_with('-') {
        return Err(RemoteUrlError::Option);
    }
    if raw.contains("::") {
        return Err(RemoteUrlError::Helper);
    }
    if raw.starts_with('/') || raw.starts_with("file:///") {
        Ok(())
    } else if let Some(rest) = raw.strip_prefix("https://") {
        let (authority, path) = rest.split_once('/').ok_or(RemoteUrlError::Form)?;
        if authority.contains('@') {
            return Err(RemoteUrlError::Credentials);
        }
        check_login("", authority, path)
    } else if let Some(rest) = raw.strip_prefix("ssh://") {
        let (authority, path) = rest.split_once('/').ok_or(RemoteUrlError::Form)?;
        let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        check_login(user, host, path)
    } else {
        let (login, path) = raw.split_once(':').ok_or(RemoteUrlError::Form)?;
        let (user, host) = login.rsplit_once('@').ok_or(RemoteUrlError::Form)?;
        check_login(user, host, path)
    }
}

fn check_login(user: &str, host: &str, path: &str) -> Result<(), RemoteUrlError> {
    if user.contains(':') {
        return Err(RemoteUrlError::Credentials);
    }
    if [user, host, path].iter().any(|part| part.starts_with('-')) {
        return Err(RemoteUrlError::Option);
    }
    let plain = |part: &str, extra: &str| {
        part.chars()
            .all(|c| c.is_ascii_alphanumeric() || extra.contains(c))
    };
    if host.is_empty() || path.is_empty() || !plain(user, "._-") || !plain(host, "._-:[]") {
        return Err(RemoteUrlError::Form);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remote_url_is_never_an_option_a_helper_or_a_secret() {
        use RemoteUrlError::{Credentials, Form, Helper, Option};
        let cases: &[(&str, Result<(), RemoteUrlError>)] = &[
            ("https://github.com/python/cpython", Ok(())),
            ("https://git.example:8443/a.git", Ok(())),
            ("ssh://git@git.example:22/a.git", Ok(())),
            ("ssh://git.example/a.git", Ok(())),
            ("git@github.com:python/cpython.git", Ok(())),
            ("file:///srv/git/a.git", Ok(())),
            ("/srv/git/a b.git", Ok(())),
            ("--upload-pack=x", Err(Option)),
            ("-oProxyCommand=x", Err(Option)),
            ("ssh://-oProxyCommand=x/a", Err(Option)),
            ("ssh://-oProxyCommand@host/a", Err(Option)),
            ("ssh://git@-oProxyCommand/a", Err(Option)),
            ("git@-oProxyCommand:a", Err(Option)),
            ("git@host:-a", Err(Option)),
            ("ext::sh -c true", Err(Helper)),
            ("git@host::a", Err(Helper)),
            ("https://user:password@host/a", Err(Credentials)),
            ("https://token@host/a", Err(Credentials)),
            ("ssh://user:password@host/a", Err(Credentials)),
            ("https://host\\@other/a", Err(Credentials)),
            ("", Err(Form)),
            ("http://host/a", Err(Form)),
            ("git://host/a", Err(Form)),
            ("HTTPS://host/a", Err(Form)),
            ("https://host", Err(Form)),
            ("https:///a", Err(Form)),
            ("https://host$(x)/a", Err(Form)),
            ("file://host/a", Err(Form)),
            ("host:a", Err(Form)),
            ("x/y@host:a", Err(Form)),
            ("../a", Err(Form)),
            ("a", Err(Form)),
        ];
        for (raw, expected) in cases {
            let got = raw.parse::<RemoteUrl>().map(drop);
            assert_eq!(&got, expected, "input {raw:?}");
        }
    }

    #[test]
    fn remote_url_is_one_line() {
        for bad in ["/a\n/b", "/a\0", "/\x1b[2J", "/\u{202e}"] {
            let got = bad.parse::<RemoteUrl>();
            assert!(matches!(got, Err(RemoteUrlError::Text(_))), "{bad:?}");
        }
    }

    #[test]
    fn configuration_cannot_smuggle_in_an_unparsed_url() {
        assert!(serde_json::from_str::<RemoteUrl>(r#""ext::sh -c true""#).is_err());
    }
}
