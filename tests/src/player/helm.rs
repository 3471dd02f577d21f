//! `helm template`: what a release of the chart is, as objects.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::environment::{self, HELM};

/// It reads a folder and writes a text.
const WITHIN: Duration = Duration::from_secs(60);
/// As deep as a manifest ever goes, and then some.
const MAX_DEPTH: usize = 64;

/// The objects of a release of the chart of this repository, in the order of their text.
///
/// # Errors
/// There is no Helm, or it does not render: with its words.
pub(super) async fn render(release: &str, values: &Value) -> anyhow::Result<Vec<Value>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let program = helm(&root);
    let mut command = Command::new(&program);
    command.args(["template", release]).arg(root.join("deploy/helm/hookbus"));
    command.args(["--namespace", "webhooks", "--values", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let run = async {
        let mut running = command.spawn()?;
        let mut input = running.stdin.take().context("it has an input")?;
        // JSON is YAML.
        input.write_all(values.to_string().as_bytes()).await?;
        drop(input);
        anyhow::Ok(running.wait_with_output().await?)
    };
    let output = tokio::time::timeout(WITHIN, run).await.context("helm does not end")?;
    let output = output.with_context(|| {
        format!("running {}: run deploy/helm/prepare.sh, which fetches Helm, or set {HELM}", program.display())
    })?;
    ensure!(output.status.success(), "helm template: {}", String::from_utf8_lossy(&output.stderr));
    objects(&String::from_utf8(output.stdout)?)
}

fn helm(root: &Path) -> PathBuf {
    let fetched = root.join("var/cache/chart/bin/helm3");
    match environment::variable(HELM) {
        Some(named) => named.into(),
        None if fetched.is_file() => fetched,
        None => "helm".into(),
    }
}

/// The documents of a text. Empty ones are left out.
pub(super) fn objects(text: &str) -> anyhow::Result<Vec<Value>> {
    let documents = Yaml::load_from_str(text).context("this is no YAML")?;
    let values: anyhow::Result<Vec<Value>> = documents.iter().map(|document| json(document, 0)).collect();
    Ok(values?.into_iter().filter(|value| !value.is_null()).collect())
}

fn json(node: &Yaml<'_>, depth: usize) -> anyhow::Result<Value> {
    ensure!(depth < MAX_DEPTH, "an object is nested more than {MAX_DEPTH} levels deep");
    Ok(match node {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(flag)) => Value::from(*flag),
        Yaml::Value(Scalar::Integer(number)) => Value::from(*number),
        Yaml::Value(Scalar::FloatingPoint(number)) => Value::from(number.into_inner()),
        Yaml::Value(Scalar::String(text)) => Value::from(text.as_ref()),
        Yaml::Sequence(entries) => entries.iter().map(|entry| json(entry, depth + 1)).collect::<anyhow::Result<_>>()?,
        Yaml::Mapping(entries) => {
            let mut object = Map::new();
            for (key, entry) in entries {
                let key = key.as_str().with_context(|| format!("a key is no text: {key:?}"))?;
                object.insert(key.to_owned(), json(entry, depth + 1)?);
            }
            Value::Object(object)
        }
        Yaml::Representation(..) | Yaml::Tagged(..) | Yaml::Alias(_) | Yaml::BadValue => {
            bail!("an object holds what JSON cannot: {node:?}")
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn manifests_become_json_and_empty_documents_nothing() {
        let text =
            "---\n# Source: a\n---\nkind: A\nn: 5\nlist: [ \"8080\", true ]\ntext: |\n  one\n  two\nnothing:\n---\n";
        let wanted = json!({ "kind": "A", "n": 5, "list": ["8080", true], "text": "one\ntwo\n", "nothing": null });
        assert_eq!(objects(text).unwrap(), [wanted]);
        assert!(objects("a: *nobody").is_err());
        assert!(objects(&"[".repeat(200)).is_err());
    }
}
