//! A session on one cluster.

use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use showrunner_sandbox::{ControlPlane, ImageTable, NodeConfig, Sandbox, SandboxConfig};
use tokio::{process::Command, time::timeout};

use crate::{
    mask,
    script::{Compare, Step},
};

/// Longest that a command may take.
const DEADLINE: Duration = Duration::from_secs(90);

/// What was said to a command, masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) lines: Vec<String>,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            writeln!(f, "{line}")?;
        }
        write!(f, "(exit code {})", self.code)
    }
}

/// Starts a cluster of two nodes, plays the session on it and stops it. `programs` is the folder of kubectl and helm.
pub(crate) async fn play(plane: ControlPlane, programs: &Path, steps: &[Step]) -> Vec<Answer> {
    let folder = tempfile::tempdir().unwrap();
    let serve = "while :; do echo hello; sleep 1; done";
    let images = ImageTable::default()
        .with("sleep", ["sleep", "infinity"])
        .with("web", ["sh", "-c", serve])
        .with("done", ["true"]);
    let config = SandboxConfig {
        control_plane: plane,
        nodes: ["a", "b"].map(NodeConfig::new).into(),
        ..SandboxConfig::new(folder.path().join("sandbox"), images)
    };
    let sandbox = Sandbox::start(config).await.unwrap();
    let shell = Shell {
        programs: programs.to_owned(),
        kubeconfig: sandbox.kubeconfig().to_owned(),
        home: folder.path().to_owned(),
    };
    let mut answers = Vec::new();
    for step in steps {
        answers.push(shell.run(step).await);
    }
    assert_eq!(sandbox.failure(), None);
    sandbox.stop().await.unwrap();
    answers
}

struct Shell {
    /// Where kubectl and helm are.
    programs: PathBuf,
    kubeconfig: PathBuf,
    /// Where they keep what they discovered: of this cluster alone.
    home: PathBuf,
}

impl Shell {
    async fn run(&self, step: &Step) -> Answer {
        let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kubectl/files");
        let mut command = Command::new(self.programs.join(step.program()));
        command
            .args(step.arguments())
            .current_dir(files)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.home)
            .env("KUBECONFIG", &self.kubeconfig)
            // `kubectl edit` hands its file to this.
            .env("KUBE_EDITOR", "sed -i s/front/edited/")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = timeout(DEADLINE, command.output())
            .await
            .unwrap_or_else(|_| panic!("{step}: no end within {} s", DEADLINE.as_secs()))
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        let mut lines = mask::lines(&String::from_utf8_lossy(&said));
        let code = output.status.code().unwrap_or(-1);
        match step.compare {
            Compare::Lines => {}
            Compare::Set => lines = lines.into_iter().collect::<BTreeSet<_>>().into_iter().collect(),
            Compare::Last => lines = lines.pop().into_iter().collect(),
        }
        Answer { code, lines }
    }
}
