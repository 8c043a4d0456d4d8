//! `showrunner undo`.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use showrunner_loadtest::{
    drill::JOURNAL,
    judge::exit,
    undo::{Report, Settings, Source, UndoError, undo, unfinished_drills},
};

use crate::{args::UndoArgs, failure::Failure, output::print};

pub(crate) async fn run(args: UndoArgs) -> Result<u8, Failure> {
    let on_disk = args.run.as_deref().and_then(journal);
    let (client, default) = args.cluster.connect().await?;
    let namespace = args.namespace.clone().unwrap_or(default);
    let sources = match (&args.run, on_disk) {
        (_, Some(path)) => vec![Source::File(path)],
        (Some(run), None) => vec![drill(&namespace, run)?],
        (None, None) => {
            let names = unfinished_drills(&client, &namespace).await.map_err(|e| failed(&e))?;
            let of = |name| Source::Drill {
                namespace: namespace.clone(),
                name,
            };
            names.into_iter().map(of).collect()
        }
    };
    if sources.is_empty() && !args.json {
        print(&format!("every drill in namespace {namespace} is over\n"))?;
    }
    let (mut reports, mut untried): (Vec<Report>, Option<Failure>) = (Vec::new(), None);
    for source in &sources {
        let say = |line: &str| {
            // Beside JSON, what happens is for people.
            if args.json {
                let _ = writeln!(std::io::stderr(), "{line}");
            } else {
                let _ = writeln!(std::io::stdout(), "{line}");
            }
        };
        // One that cannot be tried keeps nobody from trying the others.
        let report = match undo(&client, source, &Settings::default(), &say).await {
            Ok(report) => report,
            Err(error) => {
                untried = Some(match untried {
                    Some(failure) => failure.beside(&failed(&error)),
                    None => failed(&error),
                });
                continue;
            }
        };
        let outcome = if report.proved { "undone" } else { "NOT PROVED" };
        say(&format!("{}: {outcome}: {}", report.run, report.summary()));
        reports.push(report);
    }
    if args.json {
        let text = serde_json::to_string_pretty(&reports).map_err(|e| Failure::infrastructure(e.to_string()))?;
        print(&format!("{text}\n"))?;
    }
    let worst = reports.iter().map(Report::exit_code).max().unwrap_or(exit::PASS);
    match untried {
        None => Ok(worst),
        // What may still be there outweighs what could not be looked at.
        Some(failure) if worst == exit::NOT_UNDONE => Err(failure.coded(worst)),
        Some(failure) => Err(failure),
    }
}

/// The journal that a path names: itself, or that in the folder of a run.
fn journal(path: &Path) -> Option<PathBuf> {
    if path.is_dir() {
        return Some(path.join(JOURNAL));
    }
    path.is_file().then(|| path.to_owned())
}

fn drill(namespace: &str, run: &Path) -> Result<Source, Failure> {
    // What has a slash in it was meant as a path.
    match run.to_str() {
        Some(name) if !name.contains('/') => Ok(Source::Drill {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }),
        _ => Err(Failure::invalid(format!(
            "{}: there is no such file or folder",
            run.display()
        ))),
    }
}

fn failed(error: &UndoError) -> Failure {
    Failure::with_code(error.to_string(), error.exit_code())
}
