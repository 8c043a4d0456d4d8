//! Writes the CustomResourceDefinitions into `crds/yaml/`, one file a kind.

use std::{fs, io, path::Path};

fn main() -> io::Result<()> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("yaml");
    fs::create_dir_all(&directory)?;
    for crd in showrunner_crds::crd::all_crds() {
        let path = directory.join(format!("{}.yaml", crd.spec.names.plural));
        fs::write(&path, showrunner_crds::crd::to_yaml(&crd))?;
        println!("{}", path.display());
    }
    Ok(())
}
