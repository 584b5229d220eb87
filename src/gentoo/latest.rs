//! The latest build of a stage3: `latest-stage3-NAME.txt` of a mirror.
//!
//! ```text
//! # Latest as of Sun, 28 Sep 2025 17:30:00 +0000
//! # ts=1759080600
//! 20250928T170227Z/stage3-arm64-openrc-20250928T170227Z.tar.xz 311603336
//! ```
//!
//! The file is clear-signed and renewed regularly, so its time says how old a mirror's state is.

use std::fmt;
use std::time::{Duration, SystemTime};

use super::date::BuildDate;
use super::lock::LockedStage3;
use super::names::Stage3;
use super::signed::Verified;

/// The largest accepted stage3, in bytes: several times the size of those with a desktop.
pub const MAX_SIZE: u64 = 8 << 30;

/// Why a `latest` file is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LatestError {
    /// It is signed, but malformed or for another stage3.
    #[error("{file} is not what it should be: {problem}")]
    Format {
        /// The file's name.
        file: String,
        /// The problem.
        problem: String,
    },
    /// It is older than the locked state: the mirror is behind, or a rollback attack.
    #[error(
        "{file} goes back in time: it names that of {found}, and kiln.lock has that of {locked}; \
         use another mirror, or remove the entry from kiln.lock if the older build is wanted"
    )]
    Back {
        /// The file's name.
        file: String,
        /// The build that it names, or its time.
        found: String,
        /// The locked build, or its time.
        locked: String,
    },
    /// It is older than allowed.
    #[error(
        "{file} was signed {days} days ago, and the spec wants one of at most {most} days: \
         the mirror is out of date, or somebody holds it back; use another one"
    )]
    Stale {
        /// The file's name.
        file: String,
        /// Its age.
        days: u64,
        /// The maximum age.
        most: u64,
    },
}

/// The content of a `latest` file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latest {
    stage3: Stage3,
    /// When it was written, in seconds since 1970.
    as_of: u64,
    date: BuildDate,
    path: String,
    size: u64,
}

impl Latest {
    /// Parses the file of `stage3`, which must name a build of it.
    pub fn read(stage3: &Stage3, text: &Verified) -> Result<Self, LatestError> {
        parse(stage3, text.text()).map_err(|problem| LatestError::Format { file: file(stage3), problem })
    }

    /// Refuses a build that is older than the locked one, or than `most`. `None`: any age.
    pub fn is_fresh(
        &self,
        locked: Option<&LockedStage3>,
        most: Option<Duration>,
        now: SystemTime,
    ) -> Result<(), LatestError> {
        let locked = locked.map(|locked| AsOf { of: &locked.date, written: locked.as_of });
        let found = AsOf { of: &self.date, written: self.as_of };
        found.is_fresh(&file(&self.stage3), locked, most, now)
    }

    /// The stage3.
    pub fn stage3(&self) -> &Stage3 {
        &self.stage3
    }

    /// When the file was written, in seconds since 1970.
    pub fn as_of(&self) -> u64 {
        self.as_of
    }

    /// When the build started.
    pub fn date(&self) -> &BuildDate {
        &self.date
    }

    /// The path of the tarball, relative to [`Stage3::builds`].
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tarball's name.
    pub fn file(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// The tarball's size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}

/// What a signed file names as the latest, and when it was written.
pub(super) struct AsOf<'a, T> {
    /// The date of the named build or tree.
    pub of: &'a T,
    /// When the file was written, in seconds since 1970.
    pub written: u64,
}

impl<T: Ord + fmt::Display> AsOf<'_, T> {
    /// Refuses a state that is older than the locked one, or than `most`. `file`: the name for messages.
    pub fn is_fresh(
        &self,
        file: &str,
        locked: Option<AsOf<'_, T>>,
        most: Option<Duration>,
        now: SystemTime,
    ) -> Result<(), LatestError> {
        let file = file.to_owned();
        if let Some(locked) = locked {
            if self.of < locked.of {
                return Err(LatestError::Back {
                    file,
                    found: self.of.to_string(),
                    locked: locked.of.to_string(),
                });
            }
            // For one build, mirrors may have files of different hours.
            if self.written < locked.written && self.of != locked.of {
                return Err(LatestError::Back {
                    file,
                    found: shown(self.written),
                    locked: shown(locked.written),
                });
            }
        }
        let age = now.duration_since(SystemTime::UNIX_EPOCH + Duration::from_secs(self.written));
        match (age, most) {
            (Ok(age), Some(most)) if age > most => {
                Err(LatestError::Stale { file, days: age.as_secs() / 86_400, most: most.as_secs() / 86_400 })
            }
            _ => Ok(()),
        }
    }
}

fn file(stage3: &Stage3) -> String {
    format!("latest-stage3-{}.txt", stage3.name())
}

fn shown(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.map_or_else(|| seconds.to_string(), |time| time.to_string())
}

fn parse(stage3: &Stage3, text: &str) -> Result<Latest, String> {
    let as_of = text
        .lines()
        .find_map(|line| line.strip_prefix("# ts="))
        .and_then(|seconds| seconds.parse().ok())
        .ok_or("it does not say when it was written (# ts=)")?;
    let mut lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return Err("it should name one build".to_owned());
    };
    let (path, size) = line.split_once(' ').ok_or("a size is missing")?;
    let date: BuildDate = path
        .split_once('/')
        .and_then(|(date, _)| date.parse().ok())
        .ok_or_else(|| format!("{path:?} does not begin with a date"))?;
    let expected = format!("{date}/{stage3}-{date}.tar.xz");
    if path != expected {
        return Err(format!("it names {path:?} where {expected} was to be expected"));
    }
    let size = size.trim().parse().ok().filter(|size| (1..=MAX_SIZE).contains(size));
    let size = size.ok_or_else(|| format!("{line:?} has no size that a stage3 could have"))?;
    Ok(Latest { stage3: stage3.clone(), as_of, date, path: path.to_owned(), size })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Latest as of Sun, 28 Sep 2025 17:30:00 +0000\n# ts=1759080600\n\
        20250928T170227Z/stage3-arm64-openrc-20250928T170227Z.tar.xz 311603336";

    fn arm64() -> Stage3 {
        Stage3::named("arm64-openrc").unwrap()
    }

    fn read(text: &str) -> Result<Latest, LatestError> {
        Latest::read(&arm64(), &Verified::for_tests(text))
    }

    #[test]
    fn a_real_file_is_parsed() {
        let latest = read(TEXT).unwrap();
        assert_eq!(latest.date().as_str(), "20250928T170227Z");
        assert_eq!(latest.path(), "20250928T170227Z/stage3-arm64-openrc-20250928T170227Z.tar.xz");
        assert_eq!(latest.file(), "stage3-arm64-openrc-20250928T170227Z.tar.xz");
        assert_eq!((latest.size(), latest.as_of()), (311_603_336, 1_759_080_600));
    }

    #[test]
    fn a_signed_file_with_wrong_content_is_refused() {
        let wrong = [
            // Another stage3's file, under this one's name.
            TEXT.replace("arm64", "amd64"),
            TEXT.replace("arm64-openrc", "arm64-systemd"),
            TEXT.replace("20250928T170227Z/", "../../20250928T170227Z/"),
            TEXT.replace("20250928T170227Z/", ""),
            TEXT.replacen("20250928T170227Z", "20250929T170227Z", 1),
            TEXT.replace("20250928T170227Z", "2025092éT170227Z"),
            TEXT.replace("311603336", "0"),
            TEXT.replace("311603336", "99999999999999"),
            TEXT.replace(" 311603336", ""),
            TEXT.replace("# ts=1759080600\n", ""),
            TEXT.replace("ts=1759080600", "ts=-1"),
            format!("{TEXT}\n20250928T170227Z/stage3-arm64-systemd-20250928T170227Z.tar.xz 311603336"),
            "# ts=1".to_owned(),
            String::new(),
        ];
        for text in wrong {
            assert!(matches!(read(&text), Err(LatestError::Format { .. })), "{text}");
        }
    }

    #[test]
    fn an_older_state_is_refused() {
        let latest = read(TEXT).unwrap();
        let now = SystemTime::UNIX_EPOCH + Duration::from_mins(29_332_410);
        let mut locked = LockedStage3::for_tests(&latest);
        assert_eq!(latest.is_fresh(Some(&locked), None, now), Ok(()));
        locked.date = "20250929T000000Z".parse().unwrap();
        let error = latest.is_fresh(Some(&locked), None, now).unwrap_err().to_string();
        assert!(error.contains("goes back in time") && error.contains("20250929T000000Z"), "{error}");
        locked = LockedStage3::for_tests(&latest);
        locked.as_of += 1;
        assert_eq!(latest.is_fresh(Some(&locked), None, now), Ok(()), "the same build");
        locked.date = "20250927T000000Z".parse().unwrap();
        let error = latest.is_fresh(Some(&locked), None, now).unwrap_err().to_string();
        assert!(error.contains("2025-09-28T17:30:01Z"), "{error}");
    }

    #[test]
    fn a_stale_mirror_is_detected() {
        let latest = read(TEXT).unwrap();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_759_080_600 + 40 * 86_400 + 5);
        let most = |days: u64| Some(Duration::from_secs(days * 86_400));
        assert_eq!(latest.is_fresh(None, most(41), now), Ok(()));
        assert_eq!(latest.is_fresh(None, None, now), Ok(()));
        let error = latest.is_fresh(None, most(30), now).unwrap_err().to_string();
        assert!(error.contains("signed 40 days ago") && error.contains("at most 30 days"), "{error}");
    }
}
