//! Writes the CustomResourceDefinitions, one file a kind: into `crds/yaml/`, and where helm looks for them in the operator's
//! chart.

use std::{fs, io, path::Path};

fn main() -> io::Result<()> {
    for directory in ["yaml", "../charts/showrunner-operator/crds"] {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
        fs::create_dir_all(&directory)?;
        for crd in showrunner_crds::crd::all_crds() {
            let path = directory.join(format!("{}.yaml", crd.spec.names.plural));
            fs::write(&path, showrunner_crds::crd::to_yaml(&crd))?;
            println!("{}", path.display());
        }
    }
    Ok(())
}
