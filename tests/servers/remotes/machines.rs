//! Machines that run kiln on one project, with a server between them.

use std::fs;

use kiln::remote::SigningKey;

use crate::support::project::{KilnOutput, Project};

/// How a server is reached: fields of a remote in `graph.ron`, and the tokens of who may write and who may only read.
pub struct Access {
    pub fields: String,
    pub writer: Option<String>,
    pub reader: Option<String>,
}

/// A project's CI: its server, and the key that its builders sign with.
pub struct Ci {
    access: Access,
    key: SigningKey,
}

impl Ci {
    pub fn new(access: Access) -> Self {
        Self { access, key: SigningKey::generate("ci-1").unwrap() }
    }

    /// A builder: it pushes what it makes, signed.
    pub fn builder(&self) -> Project {
        self.builder_of(Project::new())
    }

    /// The same with another project, which does not know of the server yet.
    pub fn builder_of(&self, project: Project) -> Project {
        let (access, key) = (&self.access.fields, self.key.public());
        // Machines that run tests are busy.
        let timeout = if access.contains("timeout") { "" } else { ", timeout: \"1min\"" };
        let settings = format!(
            "version: 1, \
             remotes: [(name: \"ci\", {access}, token: Env(\"CI_TOKEN\"), write: true, kept: true{timeout})], \
             keys: [\"{key}\"], sign: Env(\"CI_KEY\"),"
        );
        project.edit("graph.ron", "version: 1,", &settings);
        self.trusted(project)
    }

    /// A machine that may read, with the same project at the same place, as the fake toolchain is part of it. Nothing is
    /// built there.
    pub fn reader_of(&self, project: Project) -> Project {
        let project = project.with_variables(self.access.reader.iter().map(|token| ("CI_TOKEN", &**token)));
        emptied(project)
    }

    /// A builder where nothing is built.
    pub fn another_builder_of(&self, project: Project) -> Project {
        emptied(self.trusted(project))
    }

    /// One that may read, and signs with a key of its own.
    pub fn stranger_of(&self, project: Project) -> Project {
        let key = SigningKey::generate("stranger-1").unwrap().to_text();
        let token = self.access.reader.iter().map(|token| ("CI_TOKEN", &**token));
        emptied(project.with_variables(token.chain([("CI_KEY", key.reveal())])))
    }

    fn trusted(&self, project: Project) -> Project {
        let key = self.key.to_text();
        let token = self.access.writer.iter().map(|token| ("CI_TOKEN", &**token));
        project.with_variables(token.chain([("CI_KEY", key.reveal())]))
    }
}

/// The same project at the same place, where nothing has been built.
pub fn emptied(project: Project) -> Project {
    for dir in ["cache", "out"] {
        if project.exists(dir) {
            fs::remove_dir_all(project.path(dir)).unwrap();
        }
    }
    project
}

/// How many warnings it gave that speak of the server.
pub fn warnings(said: &KilnOutput) -> usize {
    said.err.lines().filter(|line| line.contains("warning") && line.contains("remote ci")).count()
}

/// A project of one action, `large:it`, with an output of 64 MiB.
pub fn with_large_output() -> Project {
    let rule = "(
        version: 1,
        inputs: { \"what\": File(\"what\") },
        steps: [[\"sh\", \"-c\", \"yes $(cat {in.what}) | head -c 67108864 >{out}/large\"]],
        outputs: { \"large\": File(\"large\") },
        export: \"it\",
        tools: [\"sh\", \"yes\", \"head\", \"cat\"],
    )";
    let project = Project::with_rule("large", rule);
    project.write("what", "kiln");
    project
}

/// The size of that output.
pub const LARGE: u64 = 64 << 20;

/// How much of blobs that are on their way has come.
pub fn partial(project: &Project) -> u64 {
    let files = fs::read_dir(project.path("cache/partial")).into_iter().flatten().flatten();
    files.map(|file| file.metadata().map_or(0, |stat| stat.len())).sum()
}
