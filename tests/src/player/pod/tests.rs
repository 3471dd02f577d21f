//! Templates as the chart renders them, and what a process gets of them.

use serde_json::json;

use super::*;

fn surroundings() -> Surroundings {
    let toml = "[control.log]\nfolder = \"/var/lib/hookbus/log\"\n";
    let map = json!({ "kind": "ConfigMap", "metadata": { "name": "hooks" }, "data": { "hookbus.toml": toml } });
    let keys = [("lookup".to_owned(), "geheim".to_owned())].into();
    Surroundings {
        manifests: Manifests::new(vec![map]),
        secrets: [("keys".to_owned(), keys)].into(),
        services: [("hooks-control:80".to_owned(), SocketAddr::from(([127, 1, 7, 254], 4_000)))].into(),
    }
}

fn pod() -> PodIdentity {
    PodIdentity { name: "hooks-0".into(), index: Some(0), address: [127, 1, 7, 3].into(), folder: "/tmp/x".into() }
}

fn template() -> Value {
    json!({ "metadata": { "labels": { "a": "b" } }, "spec": {
        "terminationGracePeriodSeconds": 45,
        "initContainers": [{ "name": "doctor", "args": ["doctor"] }],
        "containers": [{
            "name": "hookbus", "args": ["gateway"],
            "env": [
                { "name": "HOOKBUS_CONFIG", "value": "/etc/hookbus/hookbus.toml" },
                { "name": "POD_INDEX", "valueFrom": { "fieldRef": { "fieldPath": "metadata.labels['apps.kubernetes.io/pod-index']" } } },
                { "name": "SLOT", "value": "east-$(POD_INDEX)" },
                { "name": "KEY_FILE", "value": "/run/hookbus/keys/lookup-key" },
                { "name": "KEY", "valueFrom": { "secretKeyRef": { "name": "keys", "key": "lookup" } } },
                { "name": "TO", "value": "http://hooks-control:80/api" },
            ],
            "ports": [{ "name": "http", "containerPort": 8080 }, { "name": "admin", "containerPort": 9090 }],
            "readinessProbe": { "httpGet": { "path": "/readyz", "port": "admin" }, "periodSeconds": 5, "failureThreshold": 2 },
            "volumeMounts": [
                { "name": "config", "mountPath": "/etc/hookbus" },
                { "name": "keys", "mountPath": "/run/hookbus/keys" },
                { "name": "log", "mountPath": "/var/lib/hookbus/log" },
            ],
        }],
        "volumes": [
            { "name": "config", "configMap": { "name": "hooks" } },
            { "name": "keys", "secret": { "secretName": "keys", "items": [{ "key": "lookup", "path": "lookup-key" }] } },
            { "name": "log", "emptyDir": {} },
        ],
    } })
}

#[test]
fn a_process_finds_what_its_container_would_find() {
    let plans = ContainerPlan::of_pod(&template(), &pod(), &surroundings()).unwrap();
    let [(doctor, true), (plan, false)] = &plans[..] else { panic!("two containers: {plans:?}") };
    assert_eq!((doctor.arguments.as_slice(), doctor.readiness.as_ref()), (["doctor".to_owned()].as_slice(), None));
    assert_eq!(plan.arguments, ["gateway"]);
    for (name, value) in [
        ("HOOKBUS_CONFIG", "/tmp/x/etc/hookbus/hookbus.toml"),
        ("SLOT", "east-0"),
        ("KEY_FILE", "/tmp/x/run/hookbus/keys/lookup-key"),
        ("KEY", "geheim"),
        ("TO", "http://127.1.7.254:4000/api"),
        ("HOSTNAME", "hooks-0"),
        ("HOOKBUS__GATEWAY__LISTEN", "127.1.7.3:8080"),
        ("HOOKBUS__ADMIN__LISTEN", "127.1.7.3:9090"),
    ] {
        assert_eq!(plan.environment[name], value, "{name}");
    }
    assert_eq!(plan.files[Path::new("/tmp/x/run/hookbus/keys/lookup-key")], "geheim");
    let toml = &plan.files[Path::new("/tmp/x/etc/hookbus/hookbus.toml")];
    assert!(toml.contains("folder = \"/tmp/x/var/lib/hookbus/log\""), "{toml}");
    assert_eq!(plan.folders, [Path::new("/tmp/x/var/lib/hookbus/log")]);
    assert_eq!(plan.grace, Duration::from_secs(45));
    let probe = plan.readiness.as_ref().unwrap();
    assert_eq!(
        (&probe.asks, probe.every, probe.failures),
        (&ProbeQuestion::Get("http://127.1.7.3:9090/readyz".to_owned()), Duration::from_secs(5), 2)
    );
}

#[test]
fn a_volume_that_containers_share_lies_in_one_place_and_a_program_may_be_the_probe() {
    let mut template = template();
    template["spec"]["volumes"][2] = json!({ "name": "log", "hostPath": { "path": "/tmp/shared" } });
    template["spec"]["containers"][0]["args"] =
        json!(["keys", "/var/lib/hookbus/log", "--to", "http://hooks-control:80/"]);
    template["spec"]["containers"][0]["readinessProbe"] = json!({ "exec": { "command": ["/hookbus", "ready"] } });
    let plans = ContainerPlan::of_pod(&template, &pod(), &surroundings()).unwrap();
    assert_eq!(plans[1].0.arguments, ["keys", "/tmp/shared", "--to", "http://127.1.7.254:4000/"]);
    assert_eq!(plans[1].0.folders, [Path::new("/tmp/shared")]);
    let probe = plans[1].0.readiness.as_ref().unwrap();
    assert_eq!(probe.asks, ProbeQuestion::Run(vec!["ready".to_owned()]));
    template["spec"]["containers"][0]["readinessProbe"]["exec"]["command"][0] = json!("/bin/sh");
    assert!(ContainerPlan::of_pod(&template, &pod(), &surroundings()).is_err());
}

#[test]
fn what_is_missing_or_not_played_is_said() {
    for (path, value, says) in [
        ("/spec/volumes/1/secret/secretName", json!("other"), "no Secret other"),
        ("/spec/volumes/1/secret/items/0/key", json!("other"), "no other in Secret keys"),
        ("/spec/volumes/0/configMap/name", json!("other"), "no ConfigMap other"),
        ("/spec/volumes/2", json!({ "name": "log", "hostPath": {} }), "nobody plays"),
        ("/spec/containers/0/readinessProbe/httpGet/port", json!("other"), "no port other"),
    ] {
        let mut template = template();
        *template.pointer_mut(path).unwrap() = value;
        let refused = ContainerPlan::of_pod(&template, &pod(), &surroundings()).unwrap_err();
        assert!(format!("{refused:#}").contains(says), "{refused:#}");
    }
    let mut other = template();
    other["spec"]["containers"][0]["command"] = json!(["/bin/sh"]);
    assert!(ContainerPlan::of_pod(&other, &pod(), &surroundings()).is_err());
}
