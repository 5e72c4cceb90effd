//! Maven, unmodified: what it deploys at one site, it resolves at another. Nothing is fetched from anywhere else.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Circle, Dice, Node, REPO, Setup};

/// Where Debian's packages put plugins and what those need, laid out as a repository.
const PLUGINS: &str = "/usr/share/maven-repo";

/// The plugins that are used, as Maven names a plugin of a version.
struct Plugins {
    dependency: String,
    deploy: String,
    jar: String,
}

impl Plugins {
    /// `None` where Maven, one of them, or a package that they use without asking for it is missing.
    fn find() -> Option<Plugins> {
        let is_maven_here = Command::new("mvn").arg("--version").output().is_ok_and(|output| output.status.success());
        if !is_maven_here || !Path::new(PLUGINS).join("junit/junit/4.x").exists() {
            return None;
        }
        Some(Plugins { dependency: plugin("dependency")?, deploy: plugin("deploy")?, jar: plugin("jar")? })
    }
}

/// A plugin in the only version that Debian has: the folders of others only point to it.
fn plugin(name: &str) -> Option<String> {
    let artifact = format!("maven-{name}-plugin");
    let versions = fs::read_dir(Path::new(PLUGINS).join("org/apache/maven/plugins").join(&artifact)).ok()?;
    let is_whole = |version: &PathBuf| {
        let number = version.file_name().unwrap_or_default().to_string_lossy();
        version.join(format!("{artifact}-{number}.jar")).exists()
    };
    let found = versions.filter_map(Result::ok).map(|version| version.path()).find(is_whole)?;
    Some(format!("org.apache.maven.plugins:{artifact}:{}", found.file_name()?.to_str()?))
}

/// What `tests/clients/maven` has.
fn given(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/maven").join(name)
}

/// Maven as somebody at one site has it.
struct Maven<'a> {
    circle: &'a Circle,
    node: &'a Node,
    plugins: &'a Plugins,
}

impl Maven<'_> {
    fn url(&self) -> String {
        format!("http://{}/artifactory/{REPO}", self.node.client().address)
    }

    fn local_repository(&self) -> PathBuf {
        self.circle.root.path().join(format!("{}-maven", self.node.name))
    }

    /// Runs it, and waits until what it wrote is at all sites.
    async fn run(&self, args: &[&str]) {
        let settings = given("settings.xml");
        // Neither the machine's settings nor the user's.
        let output = Command::new("mvn")
            .args(["--batch-mode", "--global-settings"])
            .arg(&settings)
            .arg("--settings")
            .arg(&settings)
            .args(args)
            .current_dir(self.circle.root.path())
            .env("MAVEN_SKIP_RC", "1")
            // It lives for seconds.
            .env("MAVEN_OPTS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
            .env_remove("MAVEN_ARGS")
            .env("SITE_URL", self.url())
            .env("SITE_TOKEN", self.node.token())
            .env("PLUGINS_URL", format!("file://{PLUGINS}"))
            .env("LOCAL_REPOSITORY", self.local_repository())
            .output()
            .expect("mvn is there");
        let said = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "mvn {args:?} at {}:\n{said}\n{errors}", self.node.name);
        assert!(!said.contains(": https://"), "mvn {args:?} asked the internet:\n{said}");
        self.circle.converged().await;
    }

    /// Deploys `jar` as the file of the project in `tests/clients/maven/POM`.
    async fn deploy_file(&self, jar: &[u8], pom: &str) {
        let file = self.circle.root.path().join("deployed.jar");
        fs::write(&file, jar).expect("written");
        let goal = format!("{}:deploy-file", self.plugins.deploy);
        let (file, pom) = (format!("-Dfile={}", file.display()), format!("-DpomFile={}", given(pom).display()));
        self.run(&[&goal, &file, &pom, "-DrepositoryId=site", &format!("-Durl={}", self.url())]).await;
    }

    /// Builds the project in `folder`, for which Maven resolves what it depends on, and deploys it. Returns its jar.
    async fn deploy_project(&self, folder: &Path) -> Vec<u8> {
        let goals = [format!("{}:jar", self.plugins.jar), format!("{}:deploy", self.plugins.deploy)];
        self.run(&["--file", folder.to_str().expect("text"), &goals[0], &goals[1]]).await;
        fs::read(folder.join("target/application-1.0.0.jar")).expect("it was built")
    }

    /// Resolves an artifact and all that it depends on.
    async fn get(&self, artifact: &str) {
        self.run(&[&format!("{}:get", self.plugins.dependency), &format!("-Dartifact={artifact}")]).await;
    }

    /// An artifact's jar as it was resolved here.
    fn resolved(&self, artifact: &str, version: &str) -> Vec<u8> {
        let file = self.local_repository().join(format!("com/acme/{artifact}/{version}/{artifact}-{version}.jar"));
        fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_maven_deploys_at_one_site_it_resolves_at_the_other() {
    let Some(plugins) = Plugins::find() else {
        println!(
            "not tried: Maven without the internet needs Debian's maven, libmaven-dependency-plugin-java, \
             libmaven-deploy-plugin-java, libmaven-jar-plugin-java and junit4"
        );
        return;
    };
    let circle = Circle::new(2, 0, Setup::default()).await;
    let [one, other] = [0, 1].map(|site| Maven { circle: &circle, node: &circle.nodes[site], plugins: &plugins });
    let [library, toolbox, later] = [1, 2, 3].map(|seed| Dice(seed).bytes(20_000));

    one.deploy_file(&library, "library.xml").await;
    one.deploy_file(&toolbox, "toolbox.xml").await;

    let folder = circle.root.path().join("application");
    fs::create_dir(&folder).expect("a folder");
    fs::copy(given("application/pom.xml"), folder.join("pom.xml")).expect("copied");
    let application = other.deploy_project(&folder).await;
    assert!(other.resolved("library", "1.0.0") == library, "the release is another one");
    assert!(other.resolved("toolbox", "1.1.0-SNAPSHOT") == toolbox, "the snapshot is another one");

    // The second build of the snapshot: it counts on from what the first site wrote.
    other.deploy_file(&later, "toolbox.xml").await;
    one.get("com.acme:application:1.0.0").await;
    assert!(one.resolved("application", "1.0.0") == application, "the project is another one");
    assert!(one.resolved("library", "1.0.0") == library, "the release is another one");
    assert!(one.resolved("toolbox", "1.1.0-SNAPSHOT") == later, "the snapshot isn't the latest");

    let listed = circle.converged().await;
    let files =
        |is_meant: &dyn Fn(&str) -> bool| -> Vec<&String> { listed.keys().filter(|path| is_meant(path)).collect() };
    let builds = files(&|path| path.contains("/toolbox-") && path.ends_with(".jar"));
    assert!(builds.len() == 2 && builds[0].ends_with("-1.jar") && builds[1].ends_with("-2.jar"), "{builds:?}");
    let checksums = files(&|path| path.ends_with(".sha1") || path.ends_with(".md5"));
    assert!(checksums.is_empty(), "artifacts of their own: {checksums:?}");
}
